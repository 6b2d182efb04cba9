"""What tests drive: the command line, a browser, Slurm, a blocked network, documents."""
