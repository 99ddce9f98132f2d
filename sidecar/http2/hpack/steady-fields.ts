// Which fields an encoder lets the peer remember: those that clients say again with every call, and that are no secret. A field goes into the
// dynamic table when it is said a second time with the same value, so that what changes from call to call never drives the rest out.

import { DynamicTable } from './dynamic-table.js'
import { STATIC_LENGTH } from './static-table.js'

/**
 * Harmless and mostly the same. What may be a secret (credentials, cookies, keys of unknown names) is not here: who can make calls beside
 * somebody else's could guess an indexed value by the length of a block (RFC 7541 §7.1).
 */
const STEADY: ReadonlySet<string> = new Set([
  ':authority',
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'origin',
  'server',
  'strict-transport-security',
  'te',
  'user-agent',
  'vary',
])

/** A longer value would leave too little room for others. */
const MAX_VALUE_CHARS = 512

interface Last {
  value: string
  /** How many entries were in before it; -1 while it is in no table. */
  serial: number
}

export class SteadyFields {
  #table: DynamicTable
  #added = 0
  #last = new Map<string, Last>()

  constructor(maxBytes: number) {
    this.#table = new DynamicTable(maxBytes)
  }

  get maxBytes(): number {
    return this.#table.maxBytes
  }

  resize(maxBytes: number): void {
    this.#table.resize(maxBytes)
  }

  /** Forgets everything, as the peer will when its table is resized to nothing. */
  clear(): void {
    this.#table = new DynamicTable(this.#table.maxBytes)
    this.#last = new Map()
  }

  /** What to do with a field: send this index of the table, `add` it to the table as it is sent, or send it `plain`. */
  lookUp(name: string, value: string): number | 'add' | 'plain' {
    if (!STEADY.has(name) || value.length > MAX_VALUE_CHARS) return 'plain'
    const last = this.#last.get(name)
    if (last === undefined) {
      this.#last.set(name, { value, serial: -1 })
      return 'plain'
    }
    if (last.value !== value) {
      last.value = value
      last.serial = -1
      return 'plain'
    }
    const age = this.#added - 1 - last.serial
    if (last.serial >= 0 && age < this.#table.length) return STATIC_LENGTH + 1 + age
    if (this.#table.maxBytes === 0) return 'plain'
    last.serial = this.#added
    this.#added += 1
    this.#table.add(name, value)
    return 'add'
  }
}
