/**
 * Which of the signals comes first. Later ones change nothing: npm passes on what the terminal has sent to the whole group
 * already.
 */
export function firstSignal(...names: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const name of names) {
      process.on(name, () => {
        resolve(name);
      });
    }
  });
}
