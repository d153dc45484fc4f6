"""Names of OpenTelemetry's semantic conventions for messaging that spans and metrics here follow, in one place.

Written out, because the conventions are in development and the package that has them moves them about; as of version
1.37 of the conventions: https://opentelemetry.io/docs/specs/semconv/messaging/
"""

from __future__ import annotations

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
CONVERSATION_ID = "messaging.message.conversation_id"
BATCH_COUNT = "messaging.batch.message_count"
CONSUMER_GROUP = "messaging.consumer.group.name"
ERROR_TYPE = "error.type"

HOLDFAST = "holdfast"
"""Value of `SYSTEM`."""
PUBLISH, SEND = "publish", "send"
"""Name and type of storing events."""
PROCESS = "process"
"""Name and type of handling them."""

# What the conventions have no name for.
TENANT = "holdfast.tenant_id"
ATTEMPT = "holdfast.attempt"
