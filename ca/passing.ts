// Who may be at the CA's port at once: bounds the connections that are not a feed by their number, by where they come from and by time, so
// that nobody keeps the door from the others. It looks at no byte of them.

import type { Socket } from 'node:net'
import type { Clock } from '../host/clock.js'
import { networkOf } from './try-limit.js'

/** A connection that is not a feed has this long for all it wants, handshake included: an enrolment is one request. */
const CONNECTION_MS = 60_000
/** Connections that are not a feed, whoever they are. */
const PASSING_MAX = 512
/** Of one address (an IPv6 /64): many members may share a host, but not the whole door. */
const PASSING_PER_ADDRESS = 128

/** The connections that are not a feed: few, few of one address, and none for long. */
export interface Passing {
  /** False: there are too many. */
  enter(socket: Socket): boolean
  /** The connection has become a feed, which has its own bounds. */
  stay(socket: Socket): void
}

export function openPassing(clock: Clock): Passing {
  const ends = new Map<string, () => void>()
  const ofAddress = new Map<string, number>()
  return {
    enter(socket) {
      const address = networkOf(socket.remoteAddress ?? '')
      const count = (ofAddress.get(address) ?? 0) + 1
      if (ends.size >= PASSING_MAX || count > PASSING_PER_ADDRESS) return false
      const place = placeOf(socket)
      const timer = clock.after(CONNECTION_MS, () => socket.destroy())
      const end = (): void => {
        if (ends.get(place) !== end) return
        timer.cancel()
        ends.delete(place)
        const left = (ofAddress.get(address) ?? 1) - 1
        if (left === 0) ofAddress.delete(address)
        else ofAddress.set(address, left)
      }
      ofAddress.set(address, count)
      ends.set(place, end)
      socket.once('close', end)
      return true
    },
    stay: (socket) => ends.get(placeOf(socket))?.(),
  }
}

/** The same for a TLS connection as for the TCP connection below it. */
export const placeOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`
