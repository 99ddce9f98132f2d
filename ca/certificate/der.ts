// The few shapes of DER (X.690 §8, §10) that a certificate request has, read from untrusted bytes: definite, shortest lengths,
// every element inside its parent, nothing after it. Anything else is refused, so no second reader can see something different.

/** One element: its tag octet, its content, and the exact bytes of the whole. */
export interface Element {
  readonly tag: number
  readonly content: Buffer
  readonly raw: Buffer
}

export const TAG = { integer: 0x02, bitString: 0x03, oid: 0x06, sequence: 0x30, context0: 0xa0 } as const

export class NotDer extends Error {}

/**
 * Splits bytes into the elements they are made of, without a rest.
 * @throws NotDer
 */
export function readElements(der: Buffer): Element[] {
  const elements: Element[] = []
  let at = 0
  while (at < der.length) {
    const element = readElement(der.subarray(at))
    elements.push(element)
    at += element.raw.length
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
  const [outer, ...rest] = readElements(der)
  if (outer?.tag !== tag || rest.length > 0) throw new NotDer('not one element of the wanted tag')
  const children = readElements(outer.content)
  if (children.length !== wanted.length || children.some((child, index) => child.tag !== wanted[index]))
    throw new NotDer('other elements than wanted')
  return children as { [K in keyof T]: Element }
}

function readElement(der: Buffer): Element {
  const [tag, first] = der
  if (tag === undefined || first === undefined) throw new NotDer('cut short')
  if ((tag & 0x1f) === 0x1f) throw new NotDer('a tag of several octets')
  const octets = first < 0x80 ? 0 : first & 0x7f
  if (first === 0x80 || octets > 3 || der.length < 2 + octets)
    throw new NotDer('a length that DER does not have')
  const length = octets === 0 ? first : der.readUIntBE(2, octets)
  if (octets > 0 && length < (octets === 1 ? 0x80 : 2 ** (8 * (octets - 1))))
    throw new NotDer('a length that is not the shortest')
  const from = 2 + octets
  if (der.length < from + length) throw new NotDer('longer than what holds it')
  return { tag, content: der.subarray(from, from + length), raw: der.subarray(0, from + length) }
}
