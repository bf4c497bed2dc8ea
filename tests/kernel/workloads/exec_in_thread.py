"""Another thread than the first calls exec(2): `sh -c 'exit 4'`."""

import os
import threading

threading.Thread(target=os.execv, args=("/bin/sh", ["sh", "-c", "exit 4"])).start()
threading.Event().wait()
