"""The containers of docker-compose.yaml: their secrets, and what is made before they start."""
