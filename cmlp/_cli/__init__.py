"""The command line: a module for each group of commands, and what they share.

app       the command itself, errors and exit codes
options   the options that several commands have
build     from options to a trainer
data      from a name or a file to samples, standardised as the model file says
output    tables and pictures
"""
