import type { EventEmitter } from 'node:events';
import type { Device } from '../onnx/device';
import type { InferenceEvents } from './events';

/** Which devices the inference processes have, and what they would rather have had. */
export class Devices {
  /** By process, each of which the next in its place replaces. */
  private readonly taken = new Map<number, Device>();

  /** Watches an inference service from now on. */
  static of(events: EventEmitter<InferenceEvents>): Devices {
    const devices = new Devices();
    events.on('processReady', ({ slot, device }) => {
      devices.taken.set(slot, device);
    });
    return devices;
  }

  get names(): string[] {
    return [...new Set([...this.taken.values()].map(({ name }) => name))];
  }

  /** Why `auto` fell back, for whoever looks after the server. */
  get warnings(): string[] {
    const warnings = [...this.taken.values()].flatMap(({ name, fallback }) =>
      fallback === undefined ? [] : [`Inference runs on ${name}: ${fallback}`],
    );
    return [...new Set(warnings)];
  }
}
