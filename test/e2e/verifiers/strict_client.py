"""A Python client that verifies with VERIFY_X509_STRICT, as Python 3.13 does by default. Arguments: root, certificate chain, key, server
name, port. Prints the status of one call, or why the server was refused."""

import socket
import ssl
import sys

root, chain, key, name, port = sys.argv[1:6]
context = ssl.create_default_context(cafile=root)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(chain, key)
try:
    with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as tls:
            tls.sendall(b"GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n")
            print(tls.makefile("rb").readline().decode().split()[1])
except ssl.SSLCertVerificationError as refused:
    print("refused:", refused.verify_message)
