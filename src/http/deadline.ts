import { ServiceError } from '../errors';
import type { Ticket } from '../inference/admission';
import type { Turn } from '../inference/service';

/**
 * The deadline of a request. What misses it, or would, since its turn has not come in time is refused as overload is: the
 * queue moved more slowly than was expected when the request was let in.
 */
export class Deadline {
  private readonly endMs: number;
  private readonly timer: NodeJS.Timeout;
  /** Jobs whose turn has not come yet. */
  private waiting = 0;

  /**
   * @param askedMs when the request was here, on the clock of `performance.now()`
   * @param onMissed told with the reason
   */
  constructor(
    private readonly timeoutMs: number,
    askedMs: number,
    private readonly ticket: Ticket,
    onMissed: (reason: ServiceError) => void,
  ) {
    this.endMs = askedMs + timeoutMs;
    this.timer = setTimeout(
      () => {
        onMissed(this.missed());
      },
      Math.max(1, this.leftMs),
    );
  }

  /** The turn of one of the request's jobs. */
  turn(): Turn {
    this.waiting += 1;
    let hasCome = false;
    return {
      come: () => {
        if (hasCome) {
          return undefined;
        }
        hasCome = true;
        this.waiting -= 1;
        return this.ticket.refusalAfterWait(this.leftMs);
      },
    };
  }

  end(): void {
    clearTimeout(this.timer);
  }

  private get leftMs(): number {
    return this.endMs - performance.now();
  }

  private missed(): ServiceError {
    const detail = `The answer took longer than ${this.timeoutMs / 1000} s; its work was dropped.`;
    const refusal = this.waiting > 0 ? this.ticket.refusalAfterWait(0) : undefined;
    return refusal ?? new ServiceError('deadline_exceeded', detail);
  }
}
