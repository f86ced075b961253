import { ServiceError } from '../errors';
import type { DrainRate } from './drain-rate';
import { BULK_TURN } from './queue';
import type { Priority } from './service';

/** For each priority by itself, so that neither keeps the other out. */
export interface AdmissionLimits {
  /** Pairs of photo and question that come, wait or are in work; a request whose body is still to come counts as one. */
  readonly units: number;
  /** Bytes of the bodies of those requests, as far as they have come. */
  readonly bytes: number;
  /** Units that can be in work at a time: what has begun is not interrupted, whatever comes after it. */
  readonly unitsInWork: number;
}

/** A request at the door: its headers are here, its body is not. */
export interface Arrival {
  readonly priority: Priority;
  /** Of its body, at most; it holds none of them before they come. */
  readonly bytes: number;
  /** From when its body is here to its answer. */
  readonly timeoutMs: number;
  /** Whose it is, where clients are told apart. */
  readonly client?: string | undefined;
}

export interface Load {
  readonly units: number;
  /** Requests whose bodies are coming; each is also one of the units. */
  readonly uploads: number;
  readonly bytes: number;
}

/** Why a request is not let in, and when to come again. */
export interface Refusal {
  readonly code: 'overloaded' | 'rate_limited';
  readonly detail: string;
  /** Whole seconds. */
  readonly retryAfterSeconds: number;
}

const NOTHING: Load = { units: 0, uploads: 0, bytes: 0 };
/** A request of whose body nothing has come. */
const ENTERED: Load = { units: 1, uploads: 1, bytes: 0 };
/** Of the units: however many send slowly, there is room for those whose photos are here. */
const SHARE_OF_UPLOADS = 0.5;
/** Of the units: whatever one client sends, there is room for others. */
const SHARE_OF_A_CLIENT = 0.5;
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
  /** Units of each client that has some, by `clientKey`. */
  private readonly unitsOfClients = new Map<string, number>();

  constructor(
    private readonly limits: AdmissionLimits,
    private readonly drainRate: DrainRate,
  ) {}

  loadOf(priority: Priority): Load {
    return this.loads[priority];
  }

  /**
   * Takes a slot of one unit, until the ticket is given back.
   * @throws ServiceError `overloaded`, `rate_limited`, with the time to come again
   */
  enter(arrival: Arrival): Ticket {
    const refusal = this.refusalOf(arrival);
    if (refusal !== undefined) {
      throw toError(refusal);
    }
    return new Ticket(this, arrival);
  }

  /** Why a request that holds nothing may not hold `wanted`, by default all that it may come to; nothing where it may. */
  refusalOf(arrival: Arrival, wanted: Load = { ...ENTERED, bytes: arrival.bytes }): Refusal | undefined {
    const { priority, timeoutMs } = arrival;
    const { units, uploads } = this.loads[priority];
    if (wanted.uploads > 0 && uploads + wanted.uploads > this.limits.units * SHARE_OF_UPLOADS) {
      return this.overloaded(priority, `${uploads} uploads are under way already.`);
    }
    if (units + wanted.units > this.limits.units) {
      return this.overloaded(priority, `${units} photos and questions are waiting already.`);
    }
    const ofClient = this.unitsOfClients.get(clientKey(arrival)) ?? 0;
    // With nothing else here, a client may make any request that there is.
    if (ofClient > 0 && ofClient + wanted.units > this.limits.units * SHARE_OF_A_CLIENT) {
      const detail = `${ofClient} photos and questions of this client are waiting already.`;
      return { ...this.overloaded(priority, detail), code: 'rate_limited' };
    }
    const full = this.refusalOfBytes(priority, wanted.bytes);
    if (full !== undefined) {
      return full;
    }
    const ahead = this.unitsAhead(priority);
    // It is done when its batch is, for which others will come as they have come before it.
    const company = Math.min(ahead, this.limits.unitsInWork);
    const expectedMs = this.drainRate.msUntilDone(ahead + wanted.units + company);
    // With nothing ahead, it is not load that a request is too large for its deadline.
    if (ahead > 0 && expectedMs * MARGIN > timeoutMs) {
      const seconds = `about ${Math.ceil(expectedMs / 1000)} s, and the deadline is ${secondsOf(timeoutMs)} s`;
      return this.overloaded(priority, `The answer would take ${seconds}.`);
    }
    return undefined;
  }

  /** Why there is no room for so many bytes more. */
  refusalOfBytes(priority: Priority, wanted: number): Refusal | undefined {
    const { bytes } = this.loads[priority];
    return bytes + wanted > this.limits.bytes
      ? this.overloaded(priority, `${Math.ceil(bytes / 1e6)} MB of photos are waiting already.`)
      : undefined;
  }

  /**
   * Why a request that was let in is refused all the same: it has waited so long that what is left of its deadline is too
   * short for its batch. Nothing where load is not the reason, since it takes longer than its deadline by itself.
   * @param units that it asked for
   * @param leftMs of its deadline
   */
  refusalAfterWait({ priority, timeoutMs }: Arrival, units: number, leftMs: number): Refusal | undefined {
    const batchMs = this.drainRate.msUntilDone(Math.min(this.unitsHere, this.limits.unitsInWork));
    const aloneMs = Math.max(batchMs, this.drainRate.msUntilDone(units));
    if (leftMs >= batchMs || aloneMs > timeoutMs) {
      return undefined;
    }
    return this.overloaded(priority, `Its turn did not come in time for the deadline of ${secondsOf(timeoutMs)} s.`);
  }

  add(arrival: Arrival, { units, uploads, bytes }: Load): void {
    const load = this.loads[arrival.priority];
    this.loads[arrival.priority] = {
      units: load.units + units,
      uploads: load.uploads + uploads,
      bytes: load.bytes + bytes,
    };
    if (arrival.client !== undefined) {
      const key = clientKey(arrival);
      const ofClient = (this.unitsOfClients.get(key) ?? 0) + units;
      if (ofClient > 0) {
        this.unitsOfClients.set(key, ofClient);
      } else {
        this.unitsOfClients.delete(key);
      }
    }
  }

  /** Units whose photos have come: no batch has more. */
  private get unitsHere(): number {
    const { interactive, bulk } = this.loads;
    return interactive.units - interactive.uploads + bulk.units - bulk.uploads;
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

/** Where clients are not told apart nobody has units under it. */
function clientKey({ priority, client }: Arrival): string {
  return `${priority} ${client ?? ''}`;
}

/** To three digits, since what is left of a deadline is no round number. */
function secondsOf(ms: number): number {
  return Number((ms / 1000).toPrecision(3));
}

function toError({ code, detail, retryAfterSeconds }: Refusal): ServiceError {
  return new ServiceError(code, detail, { retryAfterSeconds });
}

/** What one request holds. */
export class Ticket {
  private held = NOTHING;
  private askedUnits = ENTERED.units;
  private hasLeft = false;

  constructor(
    private readonly admission: Admission,
    private arrival: Arrival,
  ) {
    this.hold(ENTERED);
  }

  /** Holds a part of the body that has come, beside what there was; otherwise `overloaded`. What comes late counts no more. */
  receive(bytes: number): ServiceError | undefined {
    if (this.hasLeft) {
      return undefined;
    }
    const refusal = this.admission.refusalOfBytes(this.arrival.priority, bytes);
    if (refusal === undefined) {
      this.hold({ ...this.held, bytes: this.held.bytes + bytes });
    }
    return refusal && toError(refusal);
  }

  /**
   * Holds `wanted` in place of what it held; nothing where that is too much.
   * @param leftMs of its deadline, where photos had to be fetched first
   * @throws ServiceError `overloaded`, `rate_limited`
   */
  take(wanted: Load, leftMs = this.arrival.timeoutMs): void {
    this.hold(NOTHING);
    this.arrival = { ...this.arrival, timeoutMs: leftMs };
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
    this.hasLeft = true;
    this.hold(NOTHING);
  }

  private hold(wanted: Load): void {
    this.admission.add(this.arrival, {
      units: wanted.units - this.held.units,
      uploads: wanted.uploads - this.held.uploads,
      bytes: wanted.bytes - this.held.bytes,
    });
    this.held = wanted;
  }
}
