import { ServiceError } from '../errors';
import type { DrainRate } from './drain-rate';
import { BULK_TURN } from './queue';
import type { Priority } from './service';

/** For each priority by itself, so that neither keeps the other out. */
export interface AdmissionLimits {
  /** Pairs of photo and question that come, wait or are in work; a request whose body is still to come counts as one. */
  readonly units: number;
  /** Bytes of the bodies of those requests. */
  readonly bytes: number;
  /** Units that can be in work at a time: what has begun is not interrupted, whatever comes after it. */
  readonly unitsInWork: number;
}

/** A request at the door: its headers are here, its body is not. */
export interface Arrival {
  readonly priority: Priority;
  /** Of its body, at most. */
  readonly bytes: number;
  /** From when its body is here to its answer. */
  readonly timeoutMs: number;
}

export interface Load {
  readonly units: number;
  /** Requests whose bodies are coming; each is also one of the units. */
  readonly uploads: number;
  readonly bytes: number;
}

/** Why a request is not let in, and when to come again. */
export interface Refusal {
  readonly code: 'overloaded';
  readonly detail: string;
  /** Whole seconds. */
  readonly retryAfterSeconds: number;
}

const NOTHING: Load = { units: 0, uploads: 0, bytes: 0 };
/** Of the units: however many send slowly, there is room for those whose photos are here. */
const SHARE_OF_UPLOADS = 0.5;
/** Paces waver: what is expected to take more than two thirds of its deadline may well miss it. */
const MARGIN = 1.5;

/**
 * Decides who is let in, before anything of a body has been read, and counts those who are in. What is let in is
 * expected to be answered in time, so overload is felt as a refusal at once and not as a deadline that passes.
 */
export class Admission {
  private readonly loads: Record<Priority, Load> = {
    interactive: NOTHING,
    bulk: NOTHING,
  };

  constructor(
    private readonly limits: AdmissionLimits,
    private readonly drainRate: DrainRate,
  ) {}

  loadOf(priority: Priority): Load {
    return this.loads[priority];
  }

  /**
   * Takes a slot of one unit, until the ticket is given back.
   * @throws ServiceError `overloaded`, with the time to come again
   */
  enter(arrival: Arrival): Ticket {
    const ticket = new Ticket(this, arrival);
    ticket.take(atTheDoor(arrival));
    return ticket;
  }

  /** Why a request that holds nothing may not hold `wanted`, by default what it takes to enter; nothing where it may. */
  refusalOf(arrival: Arrival, wanted = atTheDoor(arrival)): Refusal | undefined {
    const { priority, timeoutMs } = arrival;
    const { units, uploads, bytes } = this.loads[priority];
    if (wanted.uploads > 0 && uploads + wanted.uploads > this.limits.units * SHARE_OF_UPLOADS) {
      return this.overloaded(priority, `${uploads} uploads are under way already.`);
    }
    if (units + wanted.units > this.limits.units) {
      return this.overloaded(priority, `${units} photos and questions are waiting already.`);
    }
    if (bytes + wanted.bytes > this.limits.bytes) {
      return this.overloaded(priority, `${Math.ceil(bytes / 1e6)} MB of photos are waiting already.`);
    }
    const ahead = this.unitsAhead(priority);
    // It is done when its batch is, for which others will come as they have come before it.
    const company = Math.min(ahead, this.limits.unitsInWork);
    const expectedMs = this.drainRate.msUntilDone(ahead + wanted.units + company);
    // With nothing ahead, it is not load that a request is too large for its deadline.
    if (ahead > 0 && expectedMs * MARGIN > timeoutMs) {
      const seconds = `about ${Math.ceil(expectedMs / 1000)} s, and the deadline is ${timeoutMs / 1000} s`;
      return this.overloaded(priority, `The answer would take ${seconds}.`);
    }
    return undefined;
  }

  /**
   * Why a request that was let in is refused all the same: it has waited so long that what is left of its deadline is too
   * short for a batch. Nothing where load is not the reason, since it takes longer than its deadline by itself.
   * @param units that it asked for
   * @param leftMs of its deadline
   */
  refusalAfterWait({ priority, timeoutMs }: Arrival, units: number, leftMs: number): Refusal | undefined {
    const batchMs = this.drainRate.msUntilDone(this.limits.unitsInWork);
    const aloneMs = Math.max(batchMs, this.drainRate.msUntilDone(units));
    if (leftMs >= batchMs || aloneMs > timeoutMs) {
      return undefined;
    }
    return this.overloaded(priority, `Its turn did not come in time for the deadline of ${timeoutMs / 1000} s.`);
  }

  add(priority: Priority, { units, uploads, bytes }: Load): void {
    const load = this.loads[priority];
    this.loads[priority] = {
      units: load.units + units,
      uploads: load.uploads + uploads,
      bytes: load.bytes + bytes,
    };
  }

  /** Units that can go before a further one, at worst: those of the other priority have their share of the batches. */
  private unitsAhead(priority: Priority): number {
    const { interactive, bulk } = this.loads;
    return priority === 'bulk'
      ? bulk.units * BULK_TURN
      : interactive.units + Math.min(bulk.units, interactive.units / (BULK_TURN - 1) + this.limits.unitsInWork);
  }

  private overloaded(priority: Priority, detail: string): Refusal {
    const retryAfterSeconds = this.drainRate.secondsUntilDone(this.unitsAhead(priority));
    return { code: 'overloaded', detail, retryAfterSeconds };
  }
}

function toError({ code, detail, retryAfterSeconds }: Refusal): ServiceError {
  return new ServiceError(code, detail, { retryAfterSeconds });
}

function atTheDoor({ bytes }: Arrival): Load {
  return { units: 1, uploads: 1, bytes };
}

/** What one request holds. */
export class Ticket {
  private held = NOTHING;
  private askedUnits = 0;

  constructor(
    private readonly admission: Admission,
    private readonly arrival: Arrival,
  ) {}

  /**
   * Holds `wanted` in place of what it held; nothing where that is too much.
   * @throws ServiceError `overloaded`
   */
  take(wanted: Load): void {
    this.hold(NOTHING);
    const refusal = this.admission.refusalOf(this.arrival, wanted);
    if (refusal !== undefined) {
      throw toError(refusal);
    }
    this.hold(wanted);
    this.askedUnits = wanted.units;
  }

  /** As `Admission` has it, for a request whose turn comes with `leftMs` of its deadline left. */
  refusalAfterWait(leftMs: number): ServiceError | undefined {
    const refusal = this.admission.refusalAfterWait(this.arrival, this.askedUnits, leftMs);
    return refusal && toError(refusal);
  }

  /** Part of the work is done. */
  done(units: number): void {
    this.hold({ ...this.held, units: Math.max(0, this.held.units - units) });
  }

  /** Gives back what is left, at the end of the request, however it ended. */
  leave(): void {
    this.hold(NOTHING);
  }

  private hold(wanted: Load): void {
    this.admission.add(this.arrival.priority, {
      units: wanted.units - this.held.units,
      uploads: wanted.uploads - this.held.uploads,
      bytes: wanted.bytes - this.held.bytes,
    });
    this.held = wanted;
  }
}
