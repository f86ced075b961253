import type { EventEmitter } from 'node:events';
import type { Device } from '../onnx/device';
import type { InferenceEvents } from './events';

/** Which devices the inference processes have taken, and what they would rather have had. */
export class Devices {
  private readonly seen = new Map<string, Device>();

  /** Watches an inference service from now on. */
  static of(events: EventEmitter<InferenceEvents>): Devices {
    const devices = new Devices();
    events.on('processReady', ({ device }) => {
      devices.seen.set(device.name, device);
    });
    return devices;
  }

  get names(): string[] {
    return [...this.seen.keys()];
  }

  /** Why `auto` fell back, for whoever looks after the server. */
  get warnings(): string[] {
    return [...this.seen.values()].flatMap(({ name, fallback }) =>
      fallback === undefined ? [] : [`Inference runs on ${name}: ${fallback}`],
    );
  }
}
