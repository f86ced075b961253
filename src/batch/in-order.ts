/**
 * Runs tasks side by side and gives their results in the tasks' order.
 * @param window tasks under way at a time, at least 1; the next one starts when the oldest has been taken
 */
export async function* inOrder<Task, Result>(
  tasks: Iterable<Task>,
  window: number,
  run: (task: Task) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  const underWay: Promise<Result>[] = [];
  for (const task of tasks) {
    underWay.push(run(task));
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
