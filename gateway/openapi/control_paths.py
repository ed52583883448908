"""What the control loop is to keep, and what it decided."""

from contracts.control import LoggedDecision
from contracts.operator_answers import DecisionList, IntentList
from gateway.openapi.errors import AUTHENTICATED
from gateway.openapi.media import event_schema, event_stream, json_content
from gateway.openapi.operations import operation_object
from gateway.openapi.parameters import query_parameter
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object
from policies.loop import RECENT_DECISIONS


def control_paths() -> Object:
    return {
        "/v1/intents": {
            "get": operation_object(
                "listIntents",
                "Is each promise kept?",
                {200: response_object("Every intent, measured now.", json_content(IntentList))},
                AUTHENTICATED,
            )
        },
        "/v1/decisions": {
            "parameters": [
                query_parameter(
                    "limit",
                    "The most to return, newest last; 100 by default.",
                    minimum=0,
                    maximum=RECENT_DECISIONS,
                ),
                query_parameter(
                    "after", "Only those with a number above this one.", minimum=0, maximum=2**53
                ),
                query_parameter("intent", "Only those about this intent.", "string"),
            ],
            "get": operation_object(
                "listDecisions",
                "What the control loop decided, and whether it worked",
                {
                    200: response_object(
                        "The newest decisions; as server-sent events, each as it comes, with "
                        "`Accept: text/event-stream` (`Last-Event-ID` takes up where it ended).",
                        {
                            **json_content(DecisionList),
                            **event_stream(event_schema(LoggedDecision, named="decision")),
                        },
                    )
                },
                AUTHENTICATED,
            ),
        },
    }
