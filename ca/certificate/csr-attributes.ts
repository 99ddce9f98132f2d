// What a certificate request asks for besides a certificate (RFC 2986 §4.1, attributes). The CA grants nothing that is asked: but some
// tools always ask, so a request may say again what the leaf will say anyway, and is refused for anything else.

import { type Element, NotDer, readChildren, readElements, readOid, TAG } from '../../mesh/der.js'
import { MeshError } from '../../mesh/errors.js'

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17'

/** For messages: what people and tools call them. */
const NAMES: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.9.2': 'unstructuredName',
  '1.2.840.113549.1.9.7': 'challengePassword',
  [EXTENSION_REQUEST]: 'extensionRequest',
  '1.3.6.1.4.1.311.2.1.14': 'extensionRequest (Microsoft)',
  '1.3.6.1.5.5.7.1.1': 'authorityInfoAccess',
  '1.3.6.1.5.5.7.1.24': 'tlsFeature',
  '2.5.29.14': 'subjectKeyIdentifier',
  '2.5.29.15': 'keyUsage',
  [SUBJECT_ALTERNATIVE_NAME]: 'subjectAltName',
  '2.5.29.19': 'basicConstraints',
  '2.5.29.30': 'nameConstraints',
  '2.5.29.31': 'cRLDistributionPoints',
  '2.5.29.32': 'certificatePolicies',
  '2.5.29.37': 'extendedKeyUsage',
}

/**
 * Checks that a request asks for nothing, or for nothing that the leaf does not have: one extensionRequest whose extensions are the
 * leaf's byte for byte, of subjectAltName at least one name and each once.
 *
 * @param attributes the `[0]` of the request
 * @param given the extensions of the leaf, DER each; empty: nothing may be asked for
 * @throws MeshError CSR_NOT_ALLOWED naming what is asked; NotDer
 */
export function checkAttributes(attributes: Element, given: readonly Buffer[]): void {
  const [attribute, ...more] = readElements(attributes.content)
  if (attribute === undefined) return
  const [type, values] = readChildren(attribute.raw, TAG.sequence, [TAG.oid, TAG.set])
  const id = readOid(type)
  if (id !== EXTENSION_REQUEST || given.length === 0) throw notAllowed(nameOf(id))
  if (more.length > 0) throw notAllowed('more attributes than one')
  const [extensions] = readChildren(values.raw, TAG.set, [TAG.sequence])
  const asked = readElements(extensions.content)
  const ids = asked.map(idOf)
  if (asked.length === 0 || new Set(ids).size < ids.length)
    throw notAllowed('no extension, or the same extension twice')
  const grants = given.map((der) => ({ der, id: idOf(elementOf(der)) }))
  for (const [index, extension] of asked.entries()) {
    const grant = grants.find((each) => each.id === ids[index])
    if (grant === undefined || !isGranted(extension, elementOf(grant.der), grant.id))
      throw notAllowed(`${nameOf(ids[index] ?? '')} that differs from what the leaf gets`)
  }
}

function isGranted(asked: Element, grant: Element, id: string): boolean {
  if (asked.raw.equals(grant.raw)) return true
  if (id !== SUBJECT_ALTERNATIVE_NAME) return false
  const given = new Set(namesIn(grant))
  const names = namesIn(asked)
  return names.length > 0 && new Set(names).size === names.length && names.every((name) => given.has(name))
}

/** The names of a subjectAltName, each with its tag, as hex; none when it is critical, which ours is not. */
function namesIn({ content }: Element): string[] {
  const [, value] = readElements(content)
  if (value?.tag !== TAG.octetString) return []
  return readElements(elementOf(value.content).content).map(({ raw }) => raw.toString('hex'))
}

function elementOf(der: Buffer): Element {
  const [element, ...more] = readElements(der)
  if (element?.tag !== TAG.sequence || more.length > 0) throw new NotDer('not one sequence')
  return element
}

/** Of an Extension: an OID, perhaps a criticality, a value. */
function idOf({ tag, content }: Element): string {
  const [id, ...rest] = readElements(content)
  if (tag !== TAG.sequence || id?.tag !== TAG.oid || rest.length < 1 || rest.length > 2)
    throw new NotDer('not an extension')
  return readOid(id)
}

const nameOf = (id: string): string => NAMES[id] ?? id

const notAllowed = (what: string): MeshError =>
  new MeshError(
    'CSR_NOT_ALLOWED',
    `certificate request: it asks for ${what}, and the CA grants nothing that is asked`,
  )
