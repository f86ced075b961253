import { BundleError } from '../onnx/manifest';
import type { InferenceService } from './service';

/** One that dies may be chance, as many as this are the bundles' fault, or the device's. */
const MOST_DEATHS = 3;

/**
 * Resolves when a service is ready, for whoever cannot wait for ever: by itself it goes on trying.
 * @throws BundleError as `ready`, and where process after process dies while it loads
 */
export async function readyOrRefused(service: InferenceService): Promise<void> {
  let deaths = 0;
  let count = (): void => undefined;
  const refused = new Promise<never>((_resolve, reject) => {
    count = () => {
      deaths += 1;
      if (deaths === MOST_DEATHS) {
        reject(new BundleError(`${deaths} processes have ended while they loaded the bundles; the log says how.`));
      }
    };
  });
  service.events.on('processGone', count);
  try {
    await Promise.race([service.ready(), refused]);
  } finally {
    service.events.off('processGone', count);
  }
}
