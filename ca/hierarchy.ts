// Roots and issuing CAs: made once at init, loaded at serve, loaded anew after each step of a rotation. Which there are stands in the
// store; root.pem and issuing.pem are copies for people. A root's key is opened by init and by the commands that rotate; serve never
// asks for it.

import { randomBytes, type X509Certificate } from 'node:crypto'
import path from 'node:path'
import { readState, writeFileAtomic } from '../host/files.js'
import { keyFingerprintOf } from '../mesh/authorities.js'
import { readCertificate } from '../mesh/certificate.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import type { TrustDomain } from '../mesh/spiffe-id.js'
import {
  fingerprintOf,
  isDevRoot,
  joinPem,
  parseTrustBundle,
  splitPem,
  type TrustBundle,
} from '../mesh/trust-bundle.js'
import { issuingProfile, rootProfile } from './certificate/profile.js'
import { openSigner, type Signer, signCertificate, signRoot } from './certificate/sign.js'
import { signRootCrl } from './crl.js'
import type { KeyStore } from './keys/key-store.js'
import type { Authority, NewAuthority, RotationStore } from './rotation/model.js'
import type { StoredCrl } from './store/model.js'

/** One CA that signs leaves, with all that a signature needs: taken once for each leaf, because a rotation may come in between. */
export interface IssuingCa {
  readonly issuing: X509Certificate
  /** SHA-256 of its SubjectPublicKeyInfo, lower-case hex: the `issuer` of every serial. */
  readonly issuer: string
  readonly signer: Signer
  /** The root that vouches for it. */
  readonly root: X509Certificate
}

/** What a rotation changes while the CA serves: read anew each time it is needed, never kept. */
export interface Hierarchy {
  readonly trustDomain: TrustDomain
  /** Trusted now; the one that vouches for the current issuing CA first. */
  readonly roots: readonly X509Certificate[]
  /** What members are told: the roots, the issuing CAs (also the next one), cross certificates. Another object only when it is another. */
  readonly bundle: TrustBundle
  /** The current one first, then those that sign no more and have living leaves. */
  readonly issuers: readonly IssuingCa[]
  /** Keys (SHA-256, lower-case hex) of issuing CAs that were withdrawn and whose certificates have not ended. */
  readonly revokedIssuers: readonly string[]
  /** All on record, oldest first. */
  readonly authorities: readonly Authority[]
  /** The one that signs now. */
  current(): IssuingCa
}

/** A CA that was withdrawn, as a revocation list of its root names it. */
export interface RevokedCa {
  readonly serial: string
  readonly issuer: string
  readonly revokedAt: number
}

export interface LiveHierarchy extends Hierarchy {
  /** The CAs of `revokedIssuers`. */
  readonly revokedCas: readonly RevokedCa[]
  /** After a step of a rotation was committed: what the store says now is in force, and in the files. */
  reload(): Promise<void>
}

/** Under which the key of the present root is kept. @throws MeshError STATE_UNREADABLE */
export function rootLabelOf({ authorities }: Pick<Hierarchy, 'authorities'>): 'root' | `root-${string}` {
  const label = authorities.find((each) => each.usage === 'root' && each.state === 'current')?.label
  if (label === 'root' || label?.startsWith('root-') === true) return label as 'root' | `root-${string}`
  return missing('the key of the root')
}

export interface NewHierarchy {
  readonly dir: string
  readonly trustDomain: TrustDomain
  readonly dev: boolean
  readonly keys: KeyStore
  readonly now: number
}

const FILES = { root: 'root.pem', issuing: 'issuing.pem' } as const

/** Makes both CAs and writes them into `dir`, which must be private and new. */
export async function createHierarchy(
  options: NewHierarchy,
): Promise<{ root: X509Certificate; issuing: X509Certificate; rootCrl: StoredCrl }> {
  const { dir, trustDomain, dev, keys, now } = options
  const query = { trustDomain, dev, nonce: randomBytes(4).toString('hex'), now }
  const rootKey = await keys.create('root')
  const issuingKey = await keys.create('issuing')
  const profile = rootProfile(query)
  const root = await signRoot(profile, rootKey)
  const signer = await openSigner(root, rootKey)
  const issuing = await signCertificate(issuingProfile(query, profile), issuingKey.spkiDer, signer)
  const nextUpdate = Date.parse(issuing.validTo)
  const rootCrl = await signRootCrl(signer, { revoked: [], above: 0, now, nextUpdate })
  writeFileAtomic(path.join(dir, FILES.root), root.toString(), 0o644)
  writeFileAtomic(path.join(dir, FILES.issuing), issuing.toString(), 0o644)
  return { root, issuing, rootCrl }
}

export interface StoredHierarchy {
  readonly dir: string
  readonly trustDomain: TrustDomain
  readonly store: Pick<RotationStore, 'authorities' | 'adoptAuthorities'>
  /** Issuing keys are opened in it. */
  readonly keys: KeyStore
  readonly dev: boolean
  readonly now: () => number
  /** `served`: nothing of it may have expired. `mended`: that is why it is opened. */
  readonly toBe: 'served' | 'mended'
}

/**
 * Loads the CAs of a home and checks that they belong together.
 * @throws MeshError CONFIG_MISSING | STATE_UNREADABLE | DEV_ROOT | CA_EXPIRED | PASSPHRASE_WRONG | STATE_PERMISSIONS
 */
export async function openHierarchy(options: StoredHierarchy): Promise<LiveHierarchy> {
  const { dir, store, trustDomain } = options
  const signers = new Map<string, Signer>()
  const onRecord = await store.authorities()
  const first = onRecord.length === 0 ? firstOnes(dir) : []
  let loaded = await load(options, signers, onRecord.length === 0 ? first.map(asCurrent) : onRecord)
  checkFiles(dir, loaded)
  // not before all of it was found to be right
  if (first.length > 0) await store.adoptAuthorities(first)
  return {
    trustDomain,
    get roots() {
      return loaded.bundle.roots
    },
    get bundle() {
      return loaded.bundle
    },
    get issuers() {
      return loaded.issuers
    },
    get revokedIssuers() {
      return revokedOf(loaded.authorities, options.now()).map(({ issuer }) => issuer)
    },
    get revokedCas() {
      return revokedOf(loaded.authorities, options.now())
    },
    get authorities() {
      return loaded.authorities
    },
    current: () => loaded.issuers[0],
    async reload() {
      const next = await load({ ...options, toBe: 'mended' }, signers, await store.authorities())
      const isSame = told(next.bundle) === told(loaded.bundle)
      loaded = isSame ? { ...next, bundle: loaded.bundle } : next
      writeFiles(dir, loaded)
    },
  }
}

/** Puts on record what init has made, so that the database and the certificates belong to each other from the first day. */
export async function recordFirst(dir: string, store: StoredHierarchy['store']): Promise<void> {
  await store.adoptAuthorities(firstOnes(dir))
}

interface Loaded {
  readonly authorities: readonly Authority[]
  readonly bundle: TrustBundle
  readonly issuers: readonly [IssuingCa, ...IssuingCa[]]
}

/** @param signers those that are open already, by fingerprint; newly opened ones are added */
async function load(
  options: StoredHierarchy,
  signers: Map<string, Signer>,
  onRecord: readonly Authority[],
): Promise<Loaded> {
  const { keys, trustDomain } = options
  const authorities = onRecord.filter(({ state }) => state !== 'retired')
  const certificates = new Map(authorities.map((each) => [each.fingerprint, certificateOf(each)]))
  const of = ({ fingerprint }: { fingerprint: string }): X509Certificate =>
    certificates.get(fingerprint) ?? missing('a CA on record')
  const roots = inOrder(authorities, 'root')
  const issuing = inOrder(authorities, 'issuing').filter(({ revokedAt }) => revokedAt === null)
  for (const each of authorities) {
    const signedBy = certificates.get(each.signedBy) ?? missing('the root that signed a CA on record')
    checkAuthority(of(each), signedBy, { ...options, authority: each })
  }
  const issuers: IssuingCa[] = []
  for (const each of issuing) {
    const signer = signers.get(each.fingerprint) ?? (await openSigner(of(each), await keys.open(each.label)))
    signers.set(each.fingerprint, signer)
    if (each.state !== 'next')
      issuers.push({
        issuing: of(each),
        issuer: each.issuer,
        signer,
        root: of({ fingerprint: each.signedBy }),
      })
  }
  const [current, ...others] = issuers
  if (current === undefined) return missing('the issuing CA that signs')
  const crosses = roots.flatMap(({ crossPem }) => (crossPem === null ? [] : splitPem(crossPem)))
  const bundle = {
    ...parseTrustBundle(trustDomain, joinPem(roots.map(of))),
    issuing: issuing.map(of),
    crosses: crosses.filter(({ validTo }) => Date.parse(validTo) > options.now()),
  }
  return { authorities, bundle, issuers: [current, ...others] }
}

const ORDER = ['current', 'next', 'previous']

/** The current one first. */
function inOrder(authorities: readonly Authority[], usage: Authority['usage']): Authority[] {
  return authorities
    .filter((each) => each.usage === usage)
    .sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state))
}

const missing = (what: string): never => {
  throw new MeshError('STATE_UNREADABLE', `ca.db does not hold ${what}`)
}

function certificateOf({ pem, usage, fingerprint }: Authority): X509Certificate {
  const certificate = readOne(pem, `the ${usage} CA ${fingerprint.slice(0, 16)} in ca.db`)
  if (fingerprintOf(certificate) !== fingerprint)
    throw new MeshError('STATE_UNREADABLE', `the ${usage} CA in ca.db is not that of its fingerprint`)
  return certificate
}

/** Everything in a bundle that members are told, to compare two. */
const told = ({ roots, issuing, crosses }: TrustBundle): string =>
  [roots, issuing, crosses].map(joinPem).join('\n')

function revokedOf(authorities: readonly Authority[], now: number): RevokedCa[] {
  return authorities.flatMap((each) => {
    const { revokedAt, issuer } = each
    if (revokedAt === null) return []
    const { validTo, serialNumber } = certificateOf(each)
    return Date.parse(validTo) > now - SLOW_CLOCK_MS
      ? [{ serial: serialNumber.toLowerCase(), revokedAt, issuer }]
      : []
  })
}

/** A member's clock may be this slow: a certificate counts as alive that much longer. */
const SLOW_CLOCK_MS = 300_000

/** What init left in the files, for a store that knows of no CA yet. */
function firstOnes(dir: string): NewAuthority[] {
  const root = readOne(readState(path.join(dir, FILES.root)), path.join(dir, FILES.root))
  const issuing = readOne(readState(path.join(dir, FILES.issuing)), path.join(dir, FILES.issuing))
  return [
    authorityOf(root, { usage: 'root', signedBy: root, label: 'root' }),
    authorityOf(issuing, { usage: 'issuing', signedBy: root, label: 'issuing' }),
  ]
}

const asCurrent = (first: NewAuthority): Authority => ({ ...first, state: 'current', revokedAt: null })

/** A CA certificate as the store keeps it. */
export function authorityOf(
  certificate: X509Certificate,
  about: Pick<Authority, 'usage' | 'label'> & { signedBy: X509Certificate; cross?: X509Certificate },
): NewAuthority {
  const { usage, label, signedBy, cross } = about
  return {
    fingerprint: fingerprintOf(certificate),
    usage,
    issuer: keyFingerprintOf(certificate),
    signedBy: fingerprintOf(signedBy),
    label,
    pem: certificate.toString(),
    crossPem: cross?.toString() ?? null,
  }
}

/** The files are copies of what is in force, or, when a rotation was killed, of what was a step ago; anything else is somebody's hand. */
function checkFiles(dir: string, loaded: Loaded): void {
  for (const usage of ['root', 'issuing'] as const) {
    const file = path.join(dir, FILES[usage])
    const fingerprint = fingerprintOf(readOne(readState(file), file))
    if (!loaded.authorities.some((each) => each.usage === usage && each.fingerprint === fingerprint))
      throw new MeshError('STATE_UNREADABLE', `${file} is none of the CAs of this home`)
  }
  writeFiles(dir, loaded)
}

function writeFiles(dir: string, { issuers: [current] }: Loaded): void {
  for (const usage of ['root', 'issuing'] as const) {
    const file = path.join(dir, FILES[usage])
    const pem = current[usage].toString()
    if (readState(file) !== pem) writeFileAtomic(file, pem, 0o644)
  }
}

/** @param place named in the error */
function readOne(pem: string, place: string): X509Certificate {
  try {
    const [certificate, ...more] = splitPem(pem)
    if (certificate !== undefined && more.length === 0) return certificate
  } catch (error) {
    if (!isMeshError(error)) throw error
    throw new MeshError('STATE_UNREADABLE', `${place} is not a certificate`, { cause: error })
  }
  throw new MeshError('STATE_UNREADABLE', `${place} does not hold exactly one certificate`)
}

function checkAuthority(
  certificate: X509Certificate,
  signedBy: X509Certificate,
  expected: StoredHierarchy & { authority: Authority },
): void {
  const { trustDomain, dev, toBe, authority } = expected
  const now = expected.now()
  const what = `${FILES[authority.usage]} (${authority.state})`
  if (isDevRoot(certificate) && !dev)
    throw new MeshError('DEV_ROOT', `${path.join(expected.dir, FILES.root)} is a development root`)
  const says = readCertificate(certificate)
  if (!certificate.checkIssued(signedBy) || !certificate.verify(signedBy.publicKey))
    throw new MeshError('STATE_UNREADABLE', `${what} was not signed by the root of this home`)
  if (!says.isCa || says.uris.join() !== `spiffe://${trustDomain}`)
    throw new MeshError('STATE_UNREADABLE', `${what} is not a CA of trust domain ${trustDomain}`)
  if (authority.state !== 'current' || toBe === 'mended') return
  if (now > says.notAfter)
    throw new MeshError('CA_EXPIRED', `${what} expired at ${new Date(says.notAfter).toISOString()}`, {
      hint: `troth ca rotate ${authority.usage}`,
    })
  if (now < says.notBefore)
    throw new MeshError(
      'STATE_UNREADABLE',
      `${what} is valid from ${new Date(says.notBefore).toISOString()}`,
      { hint: 'set the clock of this host' },
    )
}
