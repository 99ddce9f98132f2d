// Witness connections of callers: held so that the table finds the newer certificate they show, and for nothing else. They carry no
// call, are never read, and are few for each instance.

import type { Socket } from 'node:net'
import { WITNESS_ADMITTED } from '../../mesh/wire/witness.js'
import { type Connection, instanceKey } from '../connections.js'

/** The one in use, its successor, and those of a peer that vanished without a word. */
const MAX_OF_INSTANCE = 4
const KEEP_ALIVE_MS = 30_000

/** @returns what takes in an admitted connection; it is in the table, which ends it with its leaf or at a revocation */
export function openWitnessStand(): (connection: Connection) => void {
  const held = new Map<string, Set<Socket>>()
  return ({ socket, svid }) => {
    if (svid === undefined) {
      socket.destroy()
      return
    }
    const key = instanceKey(svid)
    const siblings = held.get(key) ?? new Set<Socket>()
    held.set(key, siblings)
    siblings.add(socket)
    const [oldest] = siblings
    if (siblings.size > MAX_OF_INSTANCE) oldest?.destroy()
    const end = (): void => void socket.destroy()
    socket.once('close', () => {
      siblings.delete(socket)
      if (siblings.size === 0) held.delete(key)
    })
    socket.on('error', end).on('data', end).on('end', end)
    // a caller that is gone without a word does not stay for the rest of its leaf
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.write(WITNESS_ADMITTED)
  }
}
