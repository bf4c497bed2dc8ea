"""For each concept, observations as they would be if its claims were wrong: id → changes to a real one.

PLAIN: as they would be if a claim were right and no more than that, without what its nuance tells of.
"""
