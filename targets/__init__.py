"""Where: one YAML file a deployment. Names and places, never credentials."""
