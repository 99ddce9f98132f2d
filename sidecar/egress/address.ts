// Whom a local request is for: `/@<callee>/path`, with or without `/~<credential>` before it; `http://<callee>.mesh/path` as to a forward
// proxy, or HTTP/2 with that authority; or any path on a port that belongs to one callee.

import { MeshError } from '../../mesh/errors.js'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'

export interface Address {
  readonly callee: AgentName
  /** The path and query meant for the callee, as they came. */
  readonly originForm: string
  /** From the path; null when there was none. */
  readonly credential: string | null
}

const MESH_HOST = /^([^.:]+)\.mesh(?::80)?$/
const CREDENTIAL_PREFIX = /^\/~([A-Za-z0-9_-]{1,128})(?=[/?]|$)/
const CALLEE_PREFIX = /^\/@([^/?]*)/

/**
 * @param host the host that the request named, lower case; null when it speaks of this door
 * @param path in origin form
 * @param only the one callee of a dedicated port; null at the shared door
 * @throws MeshError NOT_A_MESH_HOST | NOT_FOUND | AGENT_NAME_INVALID
 */
export function readAddress(host: string | null, path: string, only: AgentName | null): Address {
  if (host !== null) {
    const callee = calleeOfHost(host)
    if (only !== null && callee !== only)
      throw new MeshError('NOT_A_MESH_HOST', `this port leads to ${only} only`)
    return { callee, originForm: path, credential: null }
  }
  let rest = path
  let credential: string | null = null
  if (path.startsWith('/~')) {
    const [prefix = '', given = null] = CREDENTIAL_PREFIX.exec(path) ?? []
    rest = path.slice(prefix.length)
    credential = given
  }
  if (only !== null) return { callee: only, originForm: absolutePath(rest), credential }
  const [addressed, name] = CALLEE_PREFIX.exec(rest) ?? []
  if (addressed === undefined || name === undefined)
    throw new MeshError('NOT_FOUND', 'the path names no agent', {
      hint: 'call http://127.0.0.1:<port>/@<callee>/path',
    })
  return { callee: parseAgentName(name), originForm: absolutePath(rest.slice(addressed.length)), credential }
}

/** True for a host that only the mesh has. */
export const isMeshHost = (authority: string): boolean => /\.mesh(?::\d{1,5})?$/.test(authority)

function calleeOfHost(authority: string): AgentName {
  const [, name] = MESH_HOST.exec(authority) ?? []
  if (name === undefined)
    throw new MeshError('NOT_A_MESH_HOST', `${authority.slice(0, 120)} is no host of this mesh`)
  return parseAgentName(name)
}

const absolutePath = (rest: string): string => (rest.startsWith('/') ? rest : `/${rest}`)
