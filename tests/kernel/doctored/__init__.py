"""For each concept, observations as they would be if its claims were wrong: id → changes to a real one."""
