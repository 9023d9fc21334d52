"""The part of Triton's protocol that the engine uses, over a repository of ours, run by ONNX Runtime."""

import time
from functools import cache

import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc


def servicer(served):
    """A gRPC servicer for a `triton_server.Protocol`."""
    import grpc

    @cache
    def session(name):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        (file,) = (served.repository / name).glob("*/model.onnx")
        return onnxruntime.InferenceSession(file, options)

    def found(request, context):
        path = served.repository / (getattr(request, "model_name", "") or request.name) / "config.pbtxt"
        if not path.exists():
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{path.parent.name}' is not found")
        return path

    def tensors(some, batch):
        for each in some:
            shape = [*([-1] if batch else []), *each.dims]
            name = model_config_pb2.DataType.Name(each.data_type).removeprefix("TYPE_")
            yield service_pb2.ModelMetadataResponse.TensorMetadata(name=each.name, datatype=name, shape=shape)

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ServerMetadata(self, request, context):  # noqa: N802
            return service_pb2.ServerMetadataResponse(name="protocol", version="2")

        def ModelMetadata(self, request, context):  # noqa: N802
            config = text_format.Parse(found(request, context).read_text(), model_config_pb2.ModelConfig())
            batch = config.max_batch_size > 0
            return service_pb2.ModelMetadataResponse(
                name=config.name,
                versions=sorted(folder.name for folder in (served.repository / config.name).glob("*/")),
                inputs=tensors(config.input, batch),
                outputs=tensors(config.output, batch),
            )

        def ModelConfig(self, request, context):  # noqa: N802
            config = text_format.Parse(found(request, context).read_text(), model_config_pb2.ModelConfig())
            return service_pb2.ModelConfigResponse(config=config)

        def RepositoryIndex(self, request, context):  # noqa: N802
            index = service_pb2.RepositoryIndexResponse()
            for path in served.repository.glob("*/config.pbtxt"):
                index.models.add(name=path.parent.name, version="1", state="READY")
            return index

        def ModelInfer(self, request, context):  # noqa: N802
            until = time.monotonic() + served.delay
            while time.monotonic() < until and context.is_active():
                time.sleep(0.01)
            name = found(request, context).parent.name
            shape = list(request.inputs[0].shape)
            log_mel = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(shape)
            (logits,) = session(name).run(["logits"], {"log_mel": log_mel})
            logits = served.answer(logits)
            answer = service_pb2.ModelInferResponse(model_name=name)
            answer.outputs.add(name="logits", datatype="FP32", shape=getattr(logits, "claimed", logits.shape))
            answer.raw_output_contents.append(np.ascontiguousarray(logits, np.float32).tobytes())
            return answer

    return Servicer()
