// Keeps what it gets (/put/TOKEN) in a worker thread, which reports it.
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

if (isMainThread) {
    const worker = new Worker(fileURLToPath(import.meta.url));
    createServer((request, response) => {
        if (request.url === "/healthz") {
            response.end("ok");
            return;
        }
        worker.once("message", (kept) => response.end(kept));
        worker.postMessage(request.url);
    }).listen(8000);
    process.on("SIGTERM", () => process.exit(0));
} else {
    const kept = [];
    parentPort.on("message", (url) => {
        if (url.startsWith("/put/")) {
            kept.push(url.slice(5));
        }
        parentPort.postMessage(kept.join("\n"));
    });
}
