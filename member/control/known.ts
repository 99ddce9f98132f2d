// What a member returns to a CA that was restored from a backup: what it knows to be withdrawn beyond the CA's own view, in frames
// within the bounds of the feed.

import type { Revocations } from '../../mesh/revocation.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import {
  FEED_MEMBER_FRAME_MAX_BYTES,
  type FromMember,
  KNOWN_FRAMES_MAX,
  KNOWN_MAX,
  type RevokedSerial,
  type View,
} from '../../mesh/wire/feed.js'

type Known = Extract<FromMember, { type: 'known' }>

/** Leaves room for the frame around the entries. */
const ENTRIES_MAX_BYTES = FEED_MEMBER_FRAME_MAX_BYTES - 1024

/** At least one frame, the last of them marked so. Identities come first: what would not fit within the bounds of the feed is left out. */
export function knownFrames({ ids, serials }: Pick<Revocations, 'ids' | 'serials'>, view: View): Known[] {
  const told = new Set(view.revokedSerials.map(({ issuer, serial }) => `${issuer}:${serial}`))
  const toldIds = new Set(view.revokedIds)
  const beyond = [...ids].filter((id) => !toldIds.has(id))
  const serialsBeyond = [...serials].filter(([key]) => !told.has(key)).map(([, each]) => each)
  const entries: Entry[] = [...beyond.map((id) => ({ id })), ...serialsBeyond.map((serial) => ({ serial }))]
  const groups = grouped(entries).slice(0, KNOWN_FRAMES_MAX)
  return groups.map((group, index) => ({
    type: 'known',
    ids: group.flatMap((entry) => ('id' in entry ? [entry.id] : [])),
    serials: group.flatMap((entry) => ('serial' in entry ? [entry.serial] : [])),
    last: index === groups.length - 1,
  }))
}

type Entry = { readonly id: SpiffeId } | { readonly serial: RevokedSerial }

function grouped(entries: readonly Entry[]): Entry[][] {
  const groups: Entry[][] = [[]]
  let bytes = 0
  for (const entry of entries) {
    const size = JSON.stringify(Object.values(entry)).length + 1
    const group = groups.at(-1) ?? []
    if (group.length >= KNOWN_MAX || bytes + size > ENTRIES_MAX_BYTES) {
      groups.push([entry])
      bytes = size
    } else {
      group.push(entry)
      bytes += size
    }
  }
  return groups
}
