// What all connections of one caller have at the ingress, together: how many they are, how many calls they carry, what they leave unread,
// and what is held of the app. One caller, with as many certificates and instances as it likes, may not take what the others need.

import type { TLSSocket } from 'node:tls'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { Svid } from '../../mesh/svid.js'
import { partyOf } from '../../mesh/svid.js'
import { PeerRefused } from '../../mesh/verify-peer.js'
import { Unread } from '../call/unread.js'
import type { Holder } from './app.js'

export interface Guest extends Holder {
  readonly unread: Unread
  /** That run now; CallIn's own. */
  calls: number
}

interface Held extends Guest {
  connections: number
}

export class Guests {
  readonly #max: number
  readonly #held = new Map<SpiffeId, Held>()

  /** @param max connections of one identity */
  constructor(max: number) {
    this.#max = max
  }

  /**
   * Counts the connection until it closes.
   * @throws PeerRefused PEER_CONNECTIONS_EXCEEDED
   */
  enter(svid: Svid, socket: TLSSocket): Guest {
    const guest = this.#held.get(svid.id) ?? { unread: new Unread(), connections: 0, calls: 0, held: 0 }
    if (guest.connections >= this.#max)
      throw new PeerRefused('PEER_CONNECTIONS_EXCEEDED', `${svid.id} has too many connections`, partyOf(svid))
    guest.connections += 1
    this.#held.set(svid.id, guest)
    socket.once('close', () => {
      guest.connections -= 1
      if (guest.connections === 0) this.#held.delete(svid.id)
    })
    return guest
  }
}
