"""CTranslate2's models: converting them, and keeping them once per machine."""
