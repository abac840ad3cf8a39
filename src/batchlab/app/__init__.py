"""The commands, such as advise, which the command line and the Python functions share."""
