"""What a textbook claims about processes, and an experiment for each claim that tests it on this kernel.

Words are data, in words/*.json, in English and Chinese; numbers come from the experiments, one file for each
concept. catalogue.py has them in order, runner.py runs one.
"""
