// How a member started here gets its first certificate: a join token, or the CA of the same home over its admin socket (same OS
// user, no token), or not at all because it is enrolled already.

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { readIfThere } from '../host/files.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import { readJson, record, text } from '../mesh/parse.js'
import type { AgentName, NamedKind } from '../mesh/spiffe-id.js'
import { parseJoinToken } from '../mesh/wire/enrolment.js'
import { type AdminClient, adminClientIfUp, type Named } from './admin-client.js'
import { readGiven } from './given-file.js'
import type { Session } from './session.js'

export interface Enrolling {
  readonly kind: NamedKind
  readonly name: AgentName
  /** The member's state directory. */
  readonly dir: string
  /** `--token` as typed: the token, `file:PATH` or `-`. */
  readonly token: string | undefined
}

export interface EnrolmentSource {
  readonly enrolBy: { readonly token: string } | { readonly adminSocket: string } | null
  /** The CA of this home, when it runs. */
  readonly admin: AdminClient | null
  /** Host of the CA, or null when only the state directory knows it. */
  readonly caHost: string | null
}

/** @throws MeshError JOIN_TOKEN_INVALID | JOIN_TOKEN_OTHER_NAME | CONFIG_MISSING | NOT_ENROLLED */
export async function findEnrolment(session: Session, enrolling: Enrolling): Promise<EnrolmentSource> {
  const enrolled = existsSync(path.join(enrolling.dir, 'svid.pem'))
  const token =
    enrolling.token === undefined
      ? null
      : readToken(session, enrolling.token, { enrolled, minting: mintingOf(enrolling) })
  if (token !== null) {
    const { kind, name, caAddress } = parseJoinToken(token)
    if (kind !== enrolling.kind || name !== enrolling.name)
      throw new MeshError('JOIN_TOKEN_OTHER_NAME', `the token is for ${kind} ${name}, not ${enrolling.name}`)
    return { enrolBy: { token }, admin: null, caHost: hostOf(caAddress) }
  }
  const admin = await adminClientIfUp(session.home)
  if (admin !== null) {
    const { address } = await admin.status()
    return { enrolBy: { adminSocket: admin.socketPath }, admin, caHost: hostOf(address) }
  }
  if (enrolled) return { enrolBy: null, admin: null, caHost: rememberedCaHost(enrolling.dir) }
  const { kind, name } = enrolling
  throw new MeshError(
    'NOT_ENROLLED',
    `${kind} ${name} is not enrolled in ${session.home}, and no CA runs there`,
    {
      hint: `on the CA's host: ${mintingOf(enrolling)} --line`,
    },
  )
}

/** Registers a name that the CA does not know yet, after saying so. */
export async function registerUnknown(
  { out }: Session,
  admin: AdminClient,
  { kind, name }: Named,
): Promise<void> {
  try {
    await admin.agent({ kind, name })
  } catch (error) {
    if (!isMeshError(error, 'AGENT_UNKNOWN')) throw error
    out.say(`registering ${kind} ${name}`)
    await admin.addAgent({
      kind,
      name,
      ttlSeconds: null,
      address: null,
      graceSeconds: null,
      onClone: null,
    })
  }
}

/** The host of `host:port`, without brackets. */
export const hostOf = (address: string): string =>
  address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')

/** What an earlier enrolment wrote down. */
function rememberedCaHost(dir: string): string | null {
  const file = path.join(dir, 'instance.json')
  const kept = readIfThere(file)
  if (kept === undefined) return null
  return hostOf(readJson(kept, record({ caAddress: text(300) }), file, 'STATE_UNREADABLE').caAddress)
}

/** The token, or null when its file is gone and an earlier start has spent it. */
function readToken(
  { cwd }: Session,
  given: string,
  { enrolled, minting }: { enrolled: boolean; minting: string },
): string | null {
  if (given === '-') return readFileSync(0, 'utf8').trim()
  if (!given.startsWith('file:')) return given
  const file = path.resolve(cwd, given.slice('file:'.length))
  if (enrolled && !existsSync(file)) return null
  return readGiven(file, `name the file that holds the token, or mint one: ${minting}`).trim()
}

/** What mints a token for it. */
const mintingOf = ({ kind, name }: Enrolling): string =>
  `troth token ${name}${kind === 'agent' ? '' : ` --kind ${kind}`}`
