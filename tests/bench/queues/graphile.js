// graphile-worker: eight producers, a transaction for each job; a runner of eight workers. Prints
// how many seconds all of it took.
// Usage: node graphile.js '{"host": …}' MESSAGES
const { Logger, run } = require("graphile-worker");
const { Pool } = require("pg");

const [connection, count] = process.argv.slice(2).map((text) => JSON.parse(text));
const LANES = 8;

async function main() {
  const pgPool = new Pool({ ...connection, max: 2 * LANES + 2 });
  let done = 0;
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  const task = async () => {
    done += 1;
    if (done === count) finish();
  };
  const runner = await run({
    pgPool,
    concurrency: LANES,
    noHandleSignals: true,
    logger: new Logger(() => () => {}),
    taskList: { q: task },
  });
  let sent = 0;
  const begun = performance.now();
  const produce = async () => {
    while (sent < count) await runner.addJob("q", { n: sent++ });
  };
  await Promise.all(Array.from({ length: LANES }, produce));
  await finished;
  console.log((performance.now() - begun) / 1000);
  await runner.stop();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
