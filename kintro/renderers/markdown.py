def report(shape): return ""
