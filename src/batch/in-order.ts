/** Tasks under way: one that fails while another is waited for is no unhandled rejection; it is met in its turn. */
function start<Task, Result>(task: Task, run: (task: Task) => Promise<Result>): Promise<Result> {
  const result = run(task);
  result.catch(() => undefined);
  return result;
}

/**
 * Runs tasks side by side and gives their results in the tasks' order.
 * @param window tasks under way at a time, at least 1; the next one starts when the oldest has been taken
 */
export async function* inOrder<Task, Result>(
  tasks: Iterable<Task> | AsyncIterable<Task>,
  window: number,
  run: (task: Task) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  const underWay: Promise<Result>[] = [];
  for await (const task of tasks) {
    underWay.push(start(task, run));
    if (underWay.length >= window) {
      for (const oldest of underWay.splice(0, 1)) {
        yield await oldest;
      }
    }
  }
  for (const result of underWay) {
    yield await result;
  }
}

/** The same, with results as they come. */
export async function* asCompleted<Task, Result>(
  tasks: Iterable<Task> | AsyncIterable<Task>,
  window: number,
  run: (task: Task) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  const underWay = new Map<number, Promise<{ n: number; result: Result }>>();
  const next = async (): Promise<Result> => {
    const { n, result } = await Promise.race(underWay.values());
    underWay.delete(n);
    return result;
  };
  let started = 0;
  for await (const task of tasks) {
    const n = started;
    started += 1;
    underWay.set(
      n,
      start(task, async (given) => ({ n, result: await run(given) })),
    );
    if (underWay.size >= window) {
      yield await next();
    }
  }
  while (underWay.size > 0) {
    yield await next();
  }
}
