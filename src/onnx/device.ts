import * as ort from 'onnxruntime-node';
import { gpuCount, hasCudaLibrary } from '../cores';
import { messageOf } from '../errors';
import { BundleError } from './manifest';
import type { ExecutionProvider } from './session';

/** What is asked for: `auto` is CUDA where it works and the CPU elsewhere, `cuda` any GPU. */
export type DeviceWish = string;

/** What is used: cpu, webgpu or cuda:<number>. */
export interface Device {
  readonly name: string;
  /** Why it is not the one that `auto` would rather have. */
  readonly fallback?: string;
}

const REMEDIES: Readonly<Record<string, string>> = {
  cuda:
    'Install the NVIDIA driver, CUDA and cuDNN, run "node node_modules/onnxruntime-node/script/install", ' +
    'and see what "npm run doctor" finds; or set DEVICE=cpu',
  webgpu: 'It needs a GPU with a Vulkan, Metal or Direct3D 12 driver; or set DEVICE=cpu',
};

/** onnxruntime's execution providers, with those whose libraries are still to be installed. */
export function listProviders(): string[] {
  return ort.listSupportedBackends().map(({ name, bundled }) => (bundled ? name : `${name} (not bundled)`));
}

/**
 * The device that a process takes: with several GPUs and no number asked for, each process has the next.
 * @param slot counts the processes from 0
 */
export function deviceOf(wish: DeviceWish, slot: number, gpus = gpuCount()): string {
  return wish === 'cuda' || wish === 'auto' ? `cuda:${slot % Math.max(1, gpus)}` : wish;
}

export function providersOf(device: string): ExecutionProvider[] {
  const [name = 'cpu', number] = device.split(':');
  if (name === 'cpu') {
    return ['cpu'];
  }
  return [number === undefined ? name : { name, deviceId: Number(number) }, 'cpu'];
}

/**
 * Loads on the device that is asked for; `auto` takes the CPU where CUDA does not work, and says why.
 * @throws BundleError with the remedy where a device that is asked for is not there
 */
export async function loadOnDevice<Loaded>(
  wish: DeviceWish,
  slot: number,
  load: (providers: ExecutionProvider[], device: string) => Promise<Loaded>,
  hasCuda = hasCudaLibrary(),
): Promise<{ loaded: Loaded; device: Device }> {
  const wanted = deviceOf(wish, slot);
  if (wish === 'auto' && !hasCuda) {
    return onCpu(load, "onnxruntime's CUDA library is not installed");
  }
  try {
    return { loaded: await load(providersOf(wanted), wanted), device: { name: wanted } };
  } catch (error) {
    if (wish === 'auto') {
      return onCpu(load, reasonOf(error));
    }
    const remedy = REMEDIES[wanted.split(':', 1)[0] ?? ''];
    if (remedy === undefined) {
      throw error;
    }
    throw new BundleError(`The device ${wanted} cannot be used: ${reasonOf(error)} ${remedy}.`, { cause: error });
  }
}

async function onCpu<Loaded>(
  load: (providers: ExecutionProvider[], device: string) => Promise<Loaded>,
  fallback: string,
) {
  return { loaded: await load(['cpu'], 'cpu'), device: { name: 'cpu', fallback } };
}

function reasonOf(error: unknown): string {
  const message = messageOf(error);
  return message.endsWith('.') ? message : `${message}.`;
}
