import { lookup as resolve, type LookupAddress, type LookupOptions } from 'node:dns';
import ipaddr from 'ipaddr.js';

type Callback = (error: Error | null, addresses: LookupAddress[] | undefined) => void;

/** Addresses of a host; one by default. */
export type Resolve = (host: string, options: LookupOptions & { all: true }, callback: Callback) => void;

/** Whether an address is of the public internet: not of this host, its network, or a range with a meaning of its own. */
export function isPublic(address: string): boolean {
  // An IPv4 address inside an IPv6 one is judged as what it is.
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'unicast';
}

/**
 * A lookup for a connection: the name is resolved once, every address must be public, and the connection goes to one of
 * those that were looked at.
 */
export function publicLookup(isAllowed: (address: string) => boolean, resolveHost: Resolve = resolve) {
  return (
    host: string,
    options: LookupOptions,
    callback: (error: Error | null, address: string | LookupAddress[], family?: number) => void,
  ): void => {
    resolveHost(host, { ...options, all: true }, (error, addresses) => {
      const first = addresses?.[0];
      if (error !== null || addresses === undefined || first === undefined) {
        callback(error ?? new Error('The host has no address'), []);
      } else if (!addresses.every(({ address }) => isAllowed(address))) {
        callback(new Error('The host has an address that is not public'), []);
      } else if (options.all) {
        callback(null, addresses);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}
