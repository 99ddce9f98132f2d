// What an operator, who follows no feed, knows of withdrawn issuing CAs: everything that a root's revocation list ever named to it, kept in
// `withdrawn.json`. Nothing is ever taken back, and only a root can add: whoever stole an issuing key can hold a list back, and
// can neither undo what is known nor name the CA that replaced it.

import type { X509Certificate } from 'node:crypto'
import { requestBytes } from '../../host/http-client.js'
import { errorFields, type Log } from '../../host/log.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { readJson } from '../../mesh/parse.js'
import { type Revocations, revocationsOf } from '../../mesh/revocation.js'
import { READ_WITHDRAWN, readRootCrl, type WithdrawnCa } from '../../mesh/root-crl.js'
import { caId } from '../../mesh/spiffe-id.js'
import type { StateDir } from '../state-dir.js'
import { type CaPeer, publicDoor } from './ca-client.js'

const FILE = 'withdrawn.json'
const TIMEOUT_MS = 5000

/**
 * Asks the CA for the lists of its roots, and keeps what is new in them. A list that cannot be had is no error: what is known stays.
 * @param peer its revocations are not looked at
 * @throws MeshError STATE_UNREADABLE
 */
export async function learnWithdrawn(
  state: StateDir,
  peer: Omit<CaPeer, 'revocations'>,
  log: Log,
): Promise<Revocations> {
  const known = readKnown(state)
  const { bundle } = peer
  const revocationsBy = (all: readonly WithdrawnCa[]): Revocations =>
    // a serial is looked up beside its issuer; whose it is, and until when, is not asked
    revocationsOf(
      [],
      all.map((each) => ({
        ...each,
        id: caId(bundle.trustDomain),
        expiresAt: Number.MAX_SAFE_INTEGER,
      })),
    )
  const asked = { ...peer, revocations: revocationsBy(known) }
  const named = (await Promise.all(bundle.roots.map((root) => fetchList(asked, root, log)))).flat()
  const fresh = named.filter(
    ({ issuer, serial }) => !known.some((each) => each.issuer === issuer && each.serial === serial),
  )
  if (fresh.length === 0) return asked.revocations
  const authorities = [...known, ...fresh]
  state.write(FILE, `${JSON.stringify({ version: 1, authorities })}\n`)
  log.info('operator.ca-withdrawn', { serials: fresh.map(({ serial }) => serial).join(' ') })
  return revocationsBy(authorities)
}

async function fetchList(peer: CaPeer, root: X509Certificate, log: Log): Promise<WithdrawnCa[]> {
  try {
    const der = await requestBytes(
      { ...publicDoor(peer), agent: false },
      {
        path: `/crl/${keyFingerprintOf(root)}.crl`,
        what: 'revocation list',
        timeoutMs: TIMEOUT_MS,
        unreachable: 'CA_UNREACHABLE',
      },
    )
    return await readRootCrl(der, root)
  } catch (error) {
    // of a CA that does not answer, or has none, the command itself will hear
    const isQuiet = isMeshError(error) && ['CA_UNREACHABLE', 'CRL_NONE', 'NOT_FOUND'].includes(error.code)
    log[isQuiet ? 'info' : 'warn']('operator.revocations-kept', errorFields(error))
    return []
  }
}

function readKnown(state: StateDir): readonly WithdrawnCa[] {
  const json = state.read(FILE)
  if (json === undefined) return []
  try {
    return readJson(json, READ_WITHDRAWN, FILE).authorities
  } catch (error) {
    throw new MeshError('STATE_UNREADABLE', `${FILE} in ${state.dir} cannot be used`, {
      cause: error,
      hint: 'remove it while nobody is between this host and the CA: the CA sends it again',
    })
  }
}
