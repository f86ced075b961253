/** How long the tests of this folder go on: seconds here, hours by `bench/faults.sh`. */
export const SIZES = {
  /** Inference processes killed. */
  kills: size('KILLS', 3),
  /** Rounds of what clients do, right and wrong. */
  rounds: size('SOAK_ROUNDS', 12),
} as const;

export const TIMEOUT_MS = 120_000 + SIZES.kills * 60_000 + SIZES.rounds * 2_000;

function size(variable: string, fallback: number): number {
  return Number(process.env[variable] ?? fallback);
}
