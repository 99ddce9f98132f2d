// DER (X.690 §8, §10) read from untrusted bytes, strictly: definite, shortest lengths, every element inside its parent, nothing after
// it. Anything else is refused, so no second reader can see something different. It shares no code with der-writer.ts: what one
// writes, the other checks.

/** One element: its tag octet, its content, and the exact bytes of the whole. */
export interface Element {
  readonly tag: number
  readonly content: Buffer
  readonly raw: Buffer
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context3: 0xa3,
} as const

export class NotDer extends Error {}

/** An element in place: its views are made when asked for, most never are. */
class Placed implements Element {
  readonly tag: number
  readonly end: number
  private readonly der: Buffer
  private readonly at: number
  private readonly from: number

  constructor(der: Buffer, at: number, from: number, end: number) {
    this.tag = der[at] ?? 0
    this.der = der
    this.at = at
    this.from = from
    this.end = end
  }

  get content(): Buffer {
    return this.der.subarray(this.from, this.end)
  }

  get raw(): Buffer {
    return this.der.subarray(this.at, this.end)
  }
}

/**
 * Splits bytes into the elements they are made of, without a rest.
 * @throws NotDer
 */
export function readElements(der: Buffer): Element[] {
  const elements: Element[] = []
  let at = 0
  while (at < der.length) {
    const element = readElement(der, at)
    elements.push(element)
    at = element.end
  }
  return elements
}

/**
 * The elements inside `der`, which must be exactly one element of that tag, holding exactly these tags in order.
 * @throws NotDer
 */
export function readChildren<const T extends readonly number[]>(
  der: Buffer,
  tag: number,
  wanted: T,
): { [K in keyof T]: Element } {
  const outer = readElement(der, 0)
  if (outer.tag !== tag || outer.end !== der.length) throw new NotDer('not one element of the wanted tag')
  const children = readElements(outer.content)
  if (children.length !== wanted.length || children.some((child, index) => child.tag !== wanted[index]))
    throw new NotDer('other elements than wanted')
  return children as { [K in keyof T]: Element }
}

/**
 * An object identifier in dots.
 * @throws NotDer also for arcs beyond 2^49, which nobody has
 */
export function readOid({ content }: Element): string {
  const arcs: number[] = []
  let arc = 0
  let isWhole = true
  for (const octet of content) {
    if ((isWhole && octet === 0x80) || arc >= 2 ** 42) throw new NotDer('an arc of an object identifier')
    arc = arc * 128 + (octet & 0x7f)
    isWhole = octet < 0x80
    if (!isWhole) continue
    arcs.push(arc)
    arc = 0
  }
  const [first, ...rest] = arcs
  if (first === undefined || !isWhole) throw new NotDer('an object identifier')
  const top = Math.min(2, Math.floor(first / 40))
  return [top, first - top * 40, ...rest].join('.')
}

function readElement(der: Buffer, at: number): Placed {
  const tag = der[at]
  const first = der[at + 1]
  if (tag === undefined || first === undefined) throw new NotDer('cut short')
  if ((tag & 0x1f) === 0x1f) throw new NotDer('a tag of several octets')
  const octets = first < 0x80 ? 0 : first & 0x7f
  const from = at + 2 + octets
  if (first === 0x80 || octets > 3 || der.length < from) throw new NotDer('a length that DER does not have')
  const length = octets === 0 ? first : der.readUIntBE(at + 2, octets)
  if (octets > 0 && length < (octets === 1 ? 0x80 : 2 ** (8 * (octets - 1))))
    throw new NotDer('a length that is not the shortest')
  const end = from + length
  if (der.length < end) throw new NotDer('longer than what holds it')
  return new Placed(der, at, from, end)
}
