"""The sub-commands of `mqgateway`, one module per family."""
