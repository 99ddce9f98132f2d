// What a sidecar keeps beside its identity: the ports it was given (kept, so that URLs in other programs stay right), the local
// credential (new at each start) and the secret by which the app knows its ingress.

import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { readIfThere, writeFileAtomic, writeSecret } from '../host/files.js'
import { MeshError } from '../mesh/errors.js'
import { integer, type Read, type Reader, readJson, record, withDefault } from '../mesh/parse.js'

const READ_PORTS = record({
  egress: withDefault(integer(0, 65_535), 0),
  ingress: withDefault(integer(0, 65_535), 0),
  admin: withDefault(integer(0, 65_535), 0),
})
/** 0: any free one. */
export type Ports = Read<typeof READ_PORTS>

/** Ports that flags chose; null: not chosen. */
export type ChosenPorts = { readonly [K in keyof Ports]: number | null }

const portsFile = (dir: string): string => path.join(dir, 'ports.json')

/**
 * The ports to listen on: chosen, else kept from last time, else any.
 * @throws MeshError STATE_UNREADABLE
 */
export function portsFor(dir: string, chosen: ChosenPorts): Ports {
  const read: Reader<Ports> = READ_PORTS
  const kept = readKept(portsFile(dir), read)
  return {
    egress: chosen.egress ?? kept.egress,
    ingress: chosen.ingress ?? kept.ingress,
    admin: chosen.admin ?? kept.admin,
  }
}

function readKept(file: string, read: Reader<Ports>): Ports {
  try {
    return readJson(readIfThere(file) ?? '{}', read, file, 'STATE_UNREADABLE')
  } catch (error) {
    throw new MeshError('STATE_UNREADABLE', `${file} cannot be used`, {
      cause: error,
      hint: 'remove it: free ports are picked anew',
    })
  }
}

export function keepPorts(dir: string, ports: Ports): void {
  writeFileAtomic(portsFile(dir), `${JSON.stringify(ports)}\n`, 0o644)
}

export interface LocalSecrets {
  readonly localCredential: string
  readonly ingressSecret: string
  readonly ingressSecretFile: string
}

/** Makes both secrets, 256 bits each, and writes them for their readers. */
export function makeLocalSecrets(dir: string): LocalSecrets {
  const localCredential = randomBytes(32).toString('base64url')
  const ingressSecret = randomBytes(32).toString('base64url')
  const ingressSecretFile = path.join(dir, 'ingress-secret')
  writeSecret(path.join(dir, 'local-credential'), `${localCredential}\n`)
  writeSecret(ingressSecretFile, `${ingressSecret}\n`)
  return { localCredential, ingressSecret, ingressSecretFile }
}
