// One PKCS#11 token and a session with it: the only file that knows pkcs11js. Keys are made on the token, are not extractable, and
// are called by their label. A session that was lost is opened once more; a PIN that was refused is never tried again, because
// a token locks.

import { MeshError } from '../../mesh/errors.js'

type Library = typeof import('pkcs11js')
type Handle = ReturnType<InstanceType<Library['PKCS11']>['C_OpenSession']>
type Template = Parameters<InstanceType<Library['PKCS11']>['C_FindObjectsInit']>[1]

export interface TokenPlace {
  /** Path of the module, e.g. `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly module: string
  /** CKA_LABEL of the token. */
  readonly token: string
}

/** Each may throw MeshError PKCS11_*. */
export interface Token {
  /** Makes a P-256 pair under a label that is free. */
  makeKey(label: string): Promise<void>
  /** The public point, uncompressed, 65 octets; undefined when there is no such key. */
  pointOf(label: string): Promise<Buffer | undefined>
  /** @returns r and s, 32 octets each */
  sign(label: string, digest: Buffer): Promise<Buffer>
  destroyKey(label: string): Promise<void>
  /** Labels of the private keys on it. */
  labels(): Promise<string[]>
  /** Idempotent. */
  close(): Promise<void>
}

/**
 * Loads the module and finds the token; its PIN is used when the first key is.
 * @throws MeshError PKCS11_UNAVAILABLE | PKCS11_MODULE_MISSING | PKCS11_TOKEN_MISSING
 */
export async function openToken(place: TokenPlace, pin: string | null): Promise<Token> {
  const library = await loadLibrary()
  const module = openModule(library, place.module)
  const desk: Desk = { library, module, place, pin, session: undefined, pinRefused: undefined }
  slotOf(desk)
  let tail: Promise<unknown> = Promise.resolve()
  // a session does one thing at a time
  const inSession = <T>(work: (session: Session) => T | Promise<T>): Promise<T> => {
    const result = tail.then(() => withSession(desk, work))
    tail = result.catch(() => undefined)
    return result
  }
  return {
    makeKey: (label) => inSession((session) => makeKey(desk, session, label)),
    pointOf: (label) => inSession((session) => pointOf(desk, session, label)),
    sign: (label, digest) => inSession((session) => sign(desk, session, { label, digest })),
    destroyKey: (label) =>
      inSession(({ handle }) => {
        const all = [library.CKO_PRIVATE_KEY, library.CKO_PUBLIC_KEY]
        const found = all.flatMap((kind) => find(desk, handle, keyTemplate(desk, kind, label)))
        for (const object of found) module.C_DestroyObject(handle, object)
        forget(desk)
      }),
    labels: () =>
      inSession(({ handle }) =>
        find(desk, handle, [{ type: library.CKA_CLASS, value: library.CKO_PRIVATE_KEY }]).map((object) =>
          attribute(desk, handle, { object, type: library.CKA_LABEL }).toString('utf8'),
        ),
      ),
    close: () => tail.then(() => forget(desk)),
  }
}

interface Session {
  readonly handle: Handle
  /** Of private keys, by label; good as long as the session. */
  readonly keys: Map<string, Handle>
}

interface Desk {
  readonly library: Library
  readonly module: InstanceType<Library['PKCS11']>
  readonly place: TokenPlace
  readonly pin: string | null
  session: Session | undefined
  pinRefused: MeshError | undefined
}

async function loadLibrary(): Promise<Library> {
  try {
    // optional: it is compiled where it is installed; CommonJS, so all of it is the default
    const loaded = (await import('pkcs11js')) as Library & { default?: Library }
    return loaded.default ?? loaded
  } catch (error) {
    throw new MeshError('PKCS11_UNAVAILABLE', 'the PKCS#11 library of this program is not installed', {
      cause: error,
    })
  }
}

function openModule(library: Library, file: string): Desk['module'] {
  const module = new library.PKCS11()
  try {
    module.load(file)
  } catch (error) {
    throw new MeshError('PKCS11_MODULE_MISSING', `${file} is no PKCS#11 module that can be loaded`, {
      cause: error,
    })
  }
  try {
    module.C_Initialize({ flags: library.CKF_OS_LOCKING_OK })
  } catch (error) {
    // another key store of this process uses it: a module is initialised once a process, and ended with it
    if (codeOf(error) !== library.CKR_CRYPTOKI_ALREADY_INITIALIZED) throw failed(file, error)
  }
  return module
}

/** @throws MeshError PKCS11_TOKEN_MISSING, also when two tokens have the label */
function slotOf({ module, place }: Desk): Handle {
  const slots = module.C_GetSlotList(true)
  // labels are padded with blanks to 32 octets (PKCS #11 §3.4)
  const found = slots.filter((slot) => module.C_GetTokenInfo(slot).label.trimEnd() === place.token)
  const [slot] = found
  if (slot === undefined || found.length > 1)
    throw new MeshError(
      'PKCS11_TOKEN_MISSING',
      `${place.module} has ${slot === undefined ? 'no token' : 'several tokens'} labelled ${place.token}`,
    )
  return slot
}

/** Runs the work in the session, and once more in a new one when the token says that the session is gone. */
async function withSession<T>(desk: Desk, work: (session: Session) => T | Promise<T>): Promise<T> {
  try {
    return await work(desk.session ?? openSession(desk))
  } catch (error) {
    if (!isLost(desk.library, error)) throw failed(desk.place.token, error)
  }
  forget(desk)
  try {
    return await work(openSession(desk))
  } catch (error) {
    throw failed(desk.place.token, error)
  }
}

function openSession(desk: Desk): Session {
  const { library, module } = desk
  const slot = slotOf(desk)
  const handle = module.C_OpenSession(slot, library.CKF_SERIAL_SESSION | library.CKF_RW_SESSION)
  try {
    logIn(desk, slot, handle)
  } catch (error) {
    module.C_CloseSession(handle)
    throw error
  }
  desk.session = { handle, keys: new Map() }
  return desk.session
}

function logIn(desk: Desk, slot: Handle, handle: Handle): void {
  const { library, module, place, pin } = desk
  if (desk.pinRefused !== undefined) throw desk.pinRefused
  if (pin === null || pin === '')
    throw new MeshError('PASSPHRASE_MISSING', `the PIN of token ${place.token} was not given`)
  const { flags } = module.C_GetTokenInfo(slot)
  // the last try is a person's: a program that starts again by itself would lock the token
  if ((flags & (library.CKF_USER_PIN_LOCKED | library.CKF_USER_PIN_FINAL_TRY)) !== 0)
    throw new MeshError('PKCS11_PIN_LOCKED', `token ${place.token} is locked, or one wrong PIN away from it`)
  try {
    module.C_Login(handle, library.CKU_USER, pin)
  } catch (error) {
    const code = codeOf(error)
    if (code === library.CKR_USER_ALREADY_LOGGED_IN) return
    const { CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE, CKR_PIN_LOCKED } = library
    if (code === CKR_PIN_LOCKED)
      desk.pinRefused = new MeshError('PKCS11_PIN_LOCKED', `token ${place.token} is locked`)
    else if ([CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE].includes(code))
      desk.pinRefused = new MeshError('PKCS11_PIN_WRONG', `token ${place.token} refused the PIN`)
    throw desk.pinRefused ?? error
  }
}

/** Ends the session; a token that is gone cannot be asked. */
function forget(desk: Desk): void {
  const { session, module } = desk
  desk.session = undefined
  if (session === undefined) return
  try {
    module.C_CloseSession(session.handle)
  } catch (error) {
    if (codeOf(error) === 0) throw error
  }
}

async function makeKey({ library, module }: Desk, { handle }: Session, label: string): Promise<void> {
  const always = [
    { type: library.CKA_TOKEN, value: true },
    { type: library.CKA_LABEL, value: label },
    { type: library.CKA_ID, value: Buffer.from(label, 'utf8') },
  ]
  await module.C_GenerateKeyPairAsync(
    handle,
    { mechanism: library.CKM_EC_KEY_PAIR_GEN },
    [
      ...always,
      { type: library.CKA_PRIVATE, value: false },
      { type: library.CKA_VERIFY, value: true },
      { type: library.CKA_EC_PARAMS, value: P256 },
    ],
    [
      ...always,
      { type: library.CKA_PRIVATE, value: true },
      { type: library.CKA_SENSITIVE, value: true },
      { type: library.CKA_EXTRACTABLE, value: false },
      { type: library.CKA_SIGN, value: true },
    ],
  )
}

/** The OID prime256v1, DER. */
const P256 = Buffer.from('06082a8648ce3d030107', 'hex')

function pointOf(desk: Desk, { handle }: Session, label: string): Buffer | undefined {
  const { library } = desk
  const [object, ...more] = find(desk, handle, keyTemplate(desk, library.CKO_PUBLIC_KEY, label))
  if (object === undefined) return undefined
  const point = attribute(desk, handle, { object, type: library.CKA_EC_POINT })
  // an OCTET STRING of 65 octets, the point uncompressed (PKCS #11 §6.3.3)
  if (more.length > 0 || point.length !== 67 || point[0] !== 4 || point[1] !== 65 || point[2] !== 4)
    throw new MeshError('PKCS11_FAILED', `${label} on token ${desk.place.token} is not one P-256 key`)
  return point.subarray(2)
}

async function sign(
  desk: Desk,
  session: Session,
  { label, digest }: { label: string; digest: Buffer },
): Promise<Buffer> {
  const { library, module } = desk
  const { handle, keys } = session
  const key = keys.get(label) ?? privateKey(desk, handle, label)
  keys.set(label, key)
  module.C_SignInit(handle, { mechanism: library.CKM_ECDSA }, key)
  return await module.C_SignAsync(handle, digest, Buffer.alloc(64))
}

function privateKey(desk: Desk, handle: Handle, label: string): Handle {
  const [key, ...more] = find(desk, handle, keyTemplate(desk, desk.library.CKO_PRIVATE_KEY, label))
  if (key === undefined || more.length > 0)
    throw new MeshError('CA_KEY_MISSING', `token ${desk.place.token} holds not exactly one key ${label}`)
  return key
}

const keyTemplate = ({ library }: Desk, kind: number, label: string): Template => [
  { type: library.CKA_CLASS, value: kind },
  { type: library.CKA_KEY_TYPE, value: library.CKK_EC },
  { type: library.CKA_LABEL, value: label },
]

const FOUND_MAX = 1000

function find({ module }: Desk, handle: Handle, template: Template): Handle[] {
  module.C_FindObjectsInit(handle, template)
  try {
    return module.C_FindObjects(handle, FOUND_MAX)
  } finally {
    module.C_FindObjectsFinal(handle)
  }
}

function attribute(
  { module }: Desk,
  handle: Handle,
  { object, type }: { object: Handle; type: number },
): Buffer {
  const [found] = module.C_GetAttributeValue(handle, object, [{ type }])
  if (!Buffer.isBuffer(found?.value)) throw new MeshError('PKCS11_FAILED', 'the token gave no such attribute')
  return found.value
}

/** CKR_* of an error of the library; 0 for any other. */
const codeOf = (error: unknown): number =>
  error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : 0

function isLost(library: Library, error: unknown): boolean {
  return [
    library.CKR_SESSION_HANDLE_INVALID,
    library.CKR_SESSION_CLOSED,
    library.CKR_USER_NOT_LOGGED_IN,
    library.CKR_KEY_HANDLE_INVALID,
    library.CKR_OBJECT_HANDLE_INVALID,
    library.CKR_DEVICE_REMOVED,
    library.CKR_TOKEN_NOT_PRESENT,
  ].includes(codeOf(error))
}

/** The library says what failed by a CKR_ name; nothing of ours is in it. */
function failed(place: string, error: unknown): unknown {
  if (codeOf(error) === 0 || !(error instanceof Error)) return error
  return new MeshError('PKCS11_FAILED', `token ${place}: ${error.message}`, { cause: error })
}
