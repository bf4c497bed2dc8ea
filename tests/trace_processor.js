// Carries Perfetto's RPC between standard input and output and a trace_processor.wasm:
//   node trace_processor.js DIRECTORY <requests >responses
// The directory has engine_bundle.js, which Perfetto's user interface runs as a web worker, and the .wasm file that
// it asks for. It gets what it uses of such a worker, and no more.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const directory = process.argv[2];

class XMLHttpRequest {
  open(method, url) {
    this.url = url;
  }
  send() {
    this.response = fs.readFileSync(path.join(directory, path.basename(this.url)));
  }
}

const console = { log() {}, warn() {}, error() {} };
const location = { href: "http://localhost/" };
const own = { console, location, XMLHttpRequest, WorkerGlobalScope: Object };
const worker = Object.assign(own, { performance, setTimeout, TextDecoder, TextEncoder, URL });
worker.self = worker;
vm.createContext(worker);

// The bundle tries whether a module that is but a 64-bit memory compiles. Node 22 has a draft of that, which is not
// enough, so all are told no.
vm.runInContext(
  `{
    const Module = WebAssembly.Module;
    WebAssembly.Module = function (bytes) {
      const [section, , , limits] = bytes.slice(8);
      if (section === 5 && limits === 4) throw new Error("no 64-bit memory");
      return new Module(bytes);
    };
  }`,
  worker,
);
vm.runInContext(fs.readFileSync(path.join(directory, "engine_bundle.js"), "utf8"), worker);

const port = {
  postMessage(bytes) {
    for (let done = 0; done < bytes.length; ) done += fs.writeSync(1, bytes, done);
  },
};
worker.onmessage({ data: port });

// After the promise in which the WebAssembly says that it is there.
setImmediate(() => {
  const Bytes = vm.runInContext("Uint8Array", worker); // the bundle wants that of its own realm
  const buffer = Buffer.alloc(1 << 20);
  for (let length; (length = fs.readSync(0, buffer)) > 0; ) {
    port.onmessage({ data: Bytes.from(buffer.subarray(0, length)) });
  }
});
