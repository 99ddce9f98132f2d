// Keys on a PKCS#11 token. On the token a key is called `<prefix>-<label>`: the prefix is this CA's own, so that several CAs may
// share a token.

import { createHash } from 'node:crypto'
import { bitString, integer, oid, sequence } from '../../mesh/der-writer.js'
import { MeshError } from '../../mesh/errors.js'
import type { SigningKey } from '../certificate/signing-key.js'
import type { KeyLabel, KeyStore } from './key-store.js'
import type { Token } from './pkcs11-token.js'

/** @param prefix `troth-` and eight hex digits */
export function openTokenKeys(token: Token, prefix: string): KeyStore {
  const nameOf = (label: KeyLabel): string => `${prefix}-${label}`
  const open = async (label: KeyLabel): Promise<SigningKey | undefined> => {
    const point = await token.pointOf(nameOf(label))
    return point === undefined ? undefined : signingKeyAt(token, nameOf(label), point)
  }
  return {
    create: async (label) => {
      if ((await open(label)) !== undefined)
        throw new MeshError('CA_KEY_EXISTS', `the token holds a key ${nameOf(label)} already`)
      await token.makeKey(nameOf(label))
      return required(await open(label), nameOf(label))
    },
    open: async (label) => required(await open(label), nameOf(label)),
    destroy: (label) => token.destroyKey(nameOf(label)),
    reaches: () => true,
    list: async (usage) =>
      (await token.labels())
        .filter((name) => name.startsWith(`${prefix}-${usage}`))
        .map((name) => name.slice(prefix.length + 1) as KeyLabel)
        .sort(),
    close: () => token.close(),
  }
}

function required(key: SigningKey | undefined, name: string): SigningKey {
  if (key === undefined) throw new MeshError('CA_KEY_MISSING', `the token holds no key ${name}`)
  return key
}

/** id-ecPublicKey with prime256v1 (RFC 5480 §2.1.1). */
const P256 = sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'))

function signingKeyAt(token: Token, name: string, point: Buffer): SigningKey {
  return {
    spkiDer: sequence(P256, bitString(point)),
    sign: async (data) => {
      const pair = await token.sign(name, createHash('sha256').update(data).digest())
      if (pair.length !== 64) throw new MeshError('PKCS11_FAILED', 'the token gave no ECDSA signature')
      return sequence(integer(pair.subarray(0, 32)), integer(pair.subarray(32)))
    },
  }
}
