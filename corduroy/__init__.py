"""What users of CorduroyMQ import. Nothing here uses the broker's own packages."""
