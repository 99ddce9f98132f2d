// The dynamic table of one direction (RFC 7541 §2.3.2, §4): a ring of entries, newest first, never larger than its size in bytes.

/** What an entry costs beyond its name and value (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD_BYTES = 32

export const entryBytes = (name: string, value: string): number =>
  name.length + value.length + ENTRY_OVERHEAD_BYTES

export class DynamicTable {
  #names: string[] = []
  #values: string[] = []
  /** Where the oldest entry stands in the ring. */
  #oldest = 0
  #length = 0
  #bytes = 0
  #maxBytes: number

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get length(): number {
    return this.#length
  }

  get bytes(): number {
    return this.#bytes
  }

  get maxBytes(): number {
    return this.#maxBytes
  }

  /** The name of the entry that was added `age` entries before the newest; undefined beyond the oldest. */
  nameAt(age: number): string | undefined {
    return age < this.#length ? this.#names[this.#slotOf(age)] : undefined
  }

  valueAt(age: number): string | undefined {
    return age < this.#length ? this.#values[this.#slotOf(age)] : undefined
  }

  /** An entry that is larger than the whole table empties it (RFC 7541 §4.4). */
  add(name: string, value: string): void {
    const bytes = entryBytes(name, value)
    this.#evictTo(this.#maxBytes - bytes)
    if (bytes > this.#maxBytes) return
    if (this.#length === this.#names.length) this.#grow()
    const slot = (this.#oldest + this.#length) % this.#names.length
    this.#names[slot] = name
    this.#values[slot] = value
    this.#length += 1
    this.#bytes += bytes
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#evictTo(maxBytes)
  }

  #slotOf(age: number): number {
    return (this.#oldest + this.#length - 1 - age) % this.#names.length
  }

  #evictTo(bytes: number): void {
    while (this.#length > 0 && this.#bytes > bytes) {
      const slot = this.#oldest
      this.#bytes -= entryBytes(this.#names[slot] ?? '', this.#values[slot] ?? '')
      this.#names[slot] = ''
      this.#values[slot] = ''
      this.#oldest = (slot + 1) % this.#names.length
      this.#length -= 1
    }
  }

  /** Doubles the ring; entries move to its beginning. */
  #grow(): void {
    const size = Math.max(16, this.#names.length * 2)
    const names = new Array<string>(size).fill('')
    const values = new Array<string>(size).fill('')
    for (let position = 0; position < this.#length; position++) {
      const slot = (this.#oldest + position) % this.#names.length
      names[position] = this.#names[slot] ?? ''
      values[position] = this.#values[slot] ?? ''
    }
    this.#names = names
    this.#values = values
    this.#oldest = 0
  }
}
