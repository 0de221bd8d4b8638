"""What podsearch shows in Airflow: pages behind its login, under one header."""
