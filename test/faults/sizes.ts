/** How long the tests of this folder go on: seconds here, hours by `bench/faults.sh`. */
export const SIZES = {
  /** Inference processes killed. */
  kills: size('KILLS', 3),
  /** Rounds of what clients do, right and wrong. */
  rounds: size('SOAK_ROUNDS', 12),
  /** Rounds of clients that are slow, stall and leave; each takes as long as a body may be too slow. */
  clientRounds: size('CLIENT_ROUNDS', 1),
  /** Servers ended under load. */
  ends: size('ENDS', 2),
  /** Bundles broken and mended under load. */
  reloads: size('RELOADS', 2),
  /** Seconds under a wall clock that jumps about. */
  clockSeconds: size('CLOCK_SECONDS', 3),
  /** Requests that schemathesis makes for each operation, besides those that cover every case once. */
  fuzzExamples: size('FUZZ_EXAMPLES', 10),
  /** Damaged photos. */
  fuzzImages: size('FUZZ_IMAGES', 200),
  fuzzSeed: size('FUZZ_SEED', 1),
} as const;

export const TIMEOUT_MS =
  120_000 +
  SIZES.kills * 60_000 +
  SIZES.rounds * 2_000 +
  SIZES.clientRounds * 30_000 +
  SIZES.reloads * 30_000 +
  SIZES.clockSeconds * 2_000 +
  SIZES.fuzzExamples * 2_000 +
  SIZES.fuzzImages * 500;

function size(variable: string, fallback: number): number {
  return Number(process.env[variable] ?? fallback);
}
