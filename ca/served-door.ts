// The door with what keeps it open: the server's own certificate, renewed while it runs, and an orderly end.

import type { Closers } from './closers.js'
import { type Door, type DoorOptions, openDoor } from './door.js'
import type { Feed } from './feed.js'
import { keepServerIdentity, makeServerIdentity, type ServerIdentityOptions } from './server-identity.js'

export type ServedDoorOptions = Omit<DoorOptions, 'identity'> &
  ServerIdentityOptions & { readonly feed: Feed; readonly closers: Closers }

export interface ServedDoor {
  readonly port: number
  /** Makes a new server certificate now, for an address or CAs that changed; new connections are asked for what the hierarchy trusts now. */
  renew(): Promise<void>
}

/** @throws MeshError PORT_BUSY | CONFIG_INVALID | CA_EXPIRED */
export async function openServedDoor(options: ServedDoorOptions): Promise<ServedDoor> {
  const { feed, closers } = options
  const first = await makeServerIdentity(options)
  const door: Door = await openDoor({
    ...options,
    identity: first.identity,
  })
  closers.add(async () => {
    // no new connections, then the feeds end by themselves, then the rest
    const closed = door.close()
    await feed.close()
    await closed
  })
  const stop = new AbortController()
  const keeping = keepServerIdentity(options, first, {
    signal: stop.signal,
    set: (identity) => door.setIdentity(identity),
  })
  closers.add(() => {
    stop.abort()
    return keeping
  })
  return {
    port: door.port,
    renew: async () => door.setIdentity((await makeServerIdentity(options)).identity),
  }
}
