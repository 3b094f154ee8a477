// The endpoint on plain Node: node:http and onnxruntime-node, one run a request; nothing is logged.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const ort = createRequire(`${process.env.PEER}/package.json`)("onnxruntime-node");
const session = await ort.InferenceSession.create(readFileSync(process.env.MODEL), {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
});
const columns = Array.from({ length: 10 }, (_, j) => `column_${j}`);
const classes = ["a", "b", "c"];

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    const { records } = JSON.parse(Buffer.concat(chunks).toString());
    const X = new Float32Array(records.length * columns.length);
    records.forEach((record, i) =>
      columns.forEach((name, j) => X[i * columns.length + j] = record[name])
    );
    const { label, probabilities } = await session.run({
      input: new ort.Tensor("float32", X, [records.length, columns.length]),
    });
    const predictions = records.map((_, i) => {
      const row = probabilities.data.subarray(i * 3, i * 3 + 3);
      const best = Number(label.data[i]);
      return {
        label: classes[best],
        confidence: row[best],
        probabilities: Object.fromEntries(classes.map((name, c) => [name, row[c]])),
      };
    });
    const body = JSON.stringify({ predictions });
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
