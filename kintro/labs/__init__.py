"""Labs: a question, a prediction, a situation made for real, an observation, and a check of it.

A lab is a file here with its `play`, words/NAME.json with all that it says, and programs/NAME.py, which makes
the situation. What the kernel really did is recorded by kintro's observers meanwhile: the student's answers
are graded against that, never against a number that was written down before.
"""
