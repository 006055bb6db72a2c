// pg-boss: eight producers, a transaction for each message; eight workers, which fetch and complete
// one at a time. Prints how many seconds all of it took.
// Usage: node pgboss.js '{"host": …}' MESSAGES
const PgBoss = require("pg-boss");

const [connection, count] = process.argv.slice(2).map((text) => JSON.parse(text));
const LANES = 8;

async function main() {
  const boss = new PgBoss({ ...connection, max: 2 * LANES, supervise: false, schedule: false });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  await boss.createQueue("q");
  let sent = 0;
  let done = 0;
  const begun = performance.now();
  const produce = async () => {
    while (sent < count) await boss.send("q", { n: sent++ });
  };
  const work = async () => {
    while (done < count) {
      const [job] = await boss.fetch("q");
      if (job) {
        await boss.complete("q", job.id);
        done += 1;
      } else {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  };
  const lanes = Array.from({ length: LANES }, () => [produce(), work()]);
  await Promise.all(lanes.flat());
  console.log((performance.now() - begun) / 1000);
  await boss.stop({ graceful: false });
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
